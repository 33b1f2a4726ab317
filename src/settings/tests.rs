use std::collections::HashMap;

use super::*;

fn read(file: &str, variables: &[(&str, &str)], stage: Stage) -> Result<Settings, SettingsError> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let from = Sources::of("billingd.toml", file, |name| variables.get(name).map(ToString::to_string))?;
    let (settings, checked) = Settings::read(from, stage, Needs { webhook_secret: true, ..Needs::default() });
    checked.map(|()| settings)
}

#[test]
fn development_needs_no_settings_at_all() {
    let settings = read("", &[], Stage::Development).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:4242");
    assert!(settings.signs_for_development());
    assert_eq!(settings.policy.catalogue.plan_of_price("price_pro").map(|plan| plan.id.as_str()), Some("pro"));
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let error = read(
        "[database]\nurl = \"mysql://x\"\ncolour = 3\n",
        &[
            ("PORT", "70000"),
            ("BIND_ADDR", "here"),
            ("SMTP_URL", "mailto:x"),
            ("APP_URL", "example"),
            ("LOG_FORMAT", "xml"),
        ],
        Stage::Production,
    )
    .unwrap_err()
    .to_string();
    for name in [
        "DATABASE_URL",
        "database.colour",
        "PORT",
        "BIND_ADDR",
        "STRIPE_WEBHOOK_SECRET",
        "SMTP_URL",
        "APP_URL",
        "LOG_FORMAT",
    ] {
        assert!(error.contains(name), "{name} is not in: {error}");
    }
}

#[test]
fn the_environment_wins_over_the_file_and_both_spellings_serve() {
    let file =
        "[database]\nurl = \"sqlite://a.db\"\n[stripe]\nstripe_webhook_secret = \"whsec_file\"\nlivemode = true\n";
    let settings = read(file, &[("DATABASE_URL", "sqlite://b.db")], Stage::Production).unwrap();
    assert_eq!(settings.database_url.0, "sqlite://b.db");
    assert_eq!(settings.policy.livemode, Some(true));
}

#[test]
fn development_secrets_stay_on_loopback() {
    let own = [("STRIPE_WEBHOOK_SECRET", "whsec_own"), ("JWT_SECRET", "a key of our own")];
    for (set, unset) in [(&own[..0], &own[..]), (&own[..1], &own[1..]), (&own[1..], &own[..1])] {
        let variables = [&[("BIND_ADDR", "0.0.0.0")], set].concat();
        let error = read("", &variables, Stage::Development).unwrap_err().to_string();
        for (name, _) in unset {
            assert!(error.contains(&format!("BIND_ADDR: is beyond loopback, and {name}")), "{error}");
        }
    }
    assert!(read("", &[&[("BIND_ADDR", "0.0.0.0")], &own[..]].concat(), Stage::Development).is_ok());
}

#[test]
fn plans_come_from_the_file() {
    let file = r#"
        [[plans]]
        id = "team"
        name = "Team"
        kind = "subscription"
        prices = ["price_1", "team_yearly"]
        credits = 100
        limits = { seats = -1 }
        [[plans]]
        id = "pro"
        name = "Pro"
        kind = "subscription"
        [free]
        limits = { seats = 1 }
    "#;
    let variables = [("STRIPE_WEBHOOK_SECRET", "whsec_a"), ("PAYMENTS_PRO_SUBSCRIPTION_PLAN_ID", "price_9")];
    let catalogue = read(file, &variables, Stage::Production).unwrap().policy.catalogue;
    assert_eq!(catalogue.plan_of_price("team_yearly").map(|plan| plan.credits), Some(100));
    assert_eq!(catalogue.plan_of_price("price_9").map(|plan| plan.id.as_str()), Some("pro"));
    assert_eq!(catalogue.limits_of("free").get("seats"), Some(&1));
}

#[test]
fn secrets_do_not_show() {
    let variables = [
        ("STRIPE_WEBHOOK_SECRET", "whsec_hidden"),
        ("STRIPE_API_KEY", "sk_test_hidden"),
        ("DATABASE_URL", "postgres://u:hidden@h/d"),
        ("SMTP_URL", "smtp://u:hidden@h"),
    ];
    let settings = read("", &variables, Stage::Production).unwrap();
    assert!(!format!("{settings:?}").contains("hidden"));
    assert_eq!(settings.policy.livemode, Some(false));
}

#[test]
fn the_example_file_holds() {
    let file = include_str!("../../billingd.example.toml");
    let settings = read(file, &[], Stage::Production).unwrap();
    assert_eq!(settings.policy.catalogue.plan_of_price("hobby_yearly").map(|plan| plan.id.as_str()), Some("hobby"));
    assert_eq!(settings.listen.to_string(), "127.0.0.1:4242");
}
