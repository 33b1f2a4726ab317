//! The billing API: who may see what.

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::bodies::{day, event, now, purchase};
use crate::harness::{Site, on_both};

on_both!(a_token_sees_its_own_workspaces_and_no_other, the_catalogue_is_listed);

const SECRET: &str = "the secret of the tests' tokens, long";

fn token(claims: &Value) -> String {
    let mut claims = claims.clone();
    claims["exp"] = json!(now() + 600);
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

async fn get(site: &Site, path: &str, token: Option<&str>) -> (u16, Value) {
    let mut request = reqwest::Client::new().get(site.at(path));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn started(site: &mut Site) {
    site.set("JWT_SECRET", SECRET);
    site.start(&["serve", "--worker"]);
    site.ready().await;
}

async fn a_token_sees_its_own_workspaces_and_no_other(mut site: Site) {
    started(&mut site).await;
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com", "--trial-days", "0"]);
    site.ok(&["workspaces", "put", "beta", "--owner-email", "bob@example.com", "--trial-days", "0"]);
    site.post_all(&purchase("acme", "cus_acme")).await;
    site.settle().await;
    let ann = site.query("select owner_id from workspaces where id = 'acme'").await.remove(0);
    let path = "/v1/workspaces/acme/billing";
    for claims in [json!({"workspace_id": "acme"}), json!({"workspaces": ["beta", "acme"]}), json!({"sub": ann})] {
        let (status, billing) = get(&site, path, Some(&token(&claims))).await;
        assert_eq!((status, &billing), (200, &site.workspace("acme")), "{claims}");
    }
    for claims in [json!({"workspace_id": "beta"}), json!({"sub": "user_x"}), json!({})] {
        assert_eq!(get(&site, path, Some(&token(&claims))).await.0, 403, "{claims}");
    }
    assert_eq!(get(&site, "/v1/workspaces/beta/billing", Some(&token(&json!({"sub": ann})))).await.0, 403);
    assert_eq!(get(&site, "/v1/workspaces/none/billing", Some(&token(&json!({"workspace_id": "none"})))).await.0, 404);
    let (status, body) = get(&site, path, None).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("unauthorized")));
    assert_eq!(get(&site, path, Some("a.b.c")).await.0, 401);
    assert_eq!(site.command(&["api"]).env_remove("JWT_SECRET").output().unwrap().status.code(), Some(2));
}

async fn the_catalogue_is_listed(mut site: Site) {
    started(&mut site).await;
    let product = json!({"id": "prod_1", "object": "product", "name": "Pro", "active": true});
    let price = json!({
        "id": "price_pro", "object": "price", "product": "prod_1", "unit_amount": 4900, "currency": "usd", "active": true,
        "recurring": {"interval": "month"}, "nickname": null, "lookup_key": "pro_monthly",
    });
    let old = json!({"id": "gold", "object": "plan", "product": "prod_1", "amount": 900, "currency": "usd", "interval": "year"});
    site.post_all(&[
        event("1", "price.created", day(1), price),
        event("2", "product.created", day(1), product),
        event("3", "plan.created", day(1), old.clone()),
        event("4", "plan.deleted", day(2), old),
    ])
    .await;
    site.settle().await;
    let (status, listed) = get(&site, "/v1/plans", Some(&token(&json!({})))).await;
    assert_eq!((status, &listed["plans"][1]["id"]), (200, &json!("pro")));
    let gold = &listed["prices"][0];
    assert_eq!((&gold["id"], &gold["active"], &gold["unit_amount"]), (&json!("gold"), &json!(false), &json!(900)));
    let pro = &listed["prices"][1];
    assert_eq!((&pro["id"], &pro["plan"], &pro["product_name"]), (&json!("price_pro"), &json!("pro"), &json!("Pro")));
    assert_eq!((&pro["interval"], &pro["livemode"], &pro["account"]), (&json!("month"), &json!(false), &Value::Null));
    assert_eq!(get(&site, "/v1/plans", None).await.0, 401);
}
