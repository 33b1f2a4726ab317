use std::sync::LazyLock;

use serde_json::json;

use super::*;
use crate::mail::{sample_context, sample_data};

static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| Templates::load(None, None).unwrap());

const INVOICE: &str = "https://invoice.stripe.com/i/acct_1/test_1?s=ap&x=1";
const PORTAL: &str = "https://billing.stripe.com/p/login/test_1";
const APP: &str = "https://app.example.com/billing";

/// 2 November 2026.
const DAY: i64 = 1_793_577_600;

fn context(locale: &str) -> RenderContext {
    sample_context(locale)
}

/// A later attempt, and no plan where an event names none.
fn data(mail: Mail) -> Value {
    let mut data = sample_data(mail);
    if data.get("attempt").is_some() {
        data["attempt"] = json!(2);
    }
    data
}

#[test]
fn every_mail_reads_as_it_was_agreed() {
    for locale in TEMPLATES.locales() {
        for mail in Mail::ALL {
            let rendered = render(&TEMPLATES, mail, &sample_data(mail), &sample_context(locale)).unwrap();
            let name = format!("{}.{locale}", mail.as_str());
            insta::assert_snapshot!(name.clone(), format!("Subject: {}\n\n{}", rendered.subject, rendered.text));
            insta::assert_snapshot!(format!("{name}.html"), rendered.html);
        }
    }
}

/// What each mail must say: in English, in Portuguese, and where it leads first.
fn says(mail: Mail) -> ([&'static str; 2], [&'static str; 2], &'static str) {
    let days = ["2 November 2026", "2 de novembro de 2026"];
    let amounts = ["R$49.00", "R$ 49,00"];
    match mail {
        Mail::PaymentFailed | Mail::PaymentActionRequired | Mail::PaymentSucceeded => (amounts, days, INVOICE),
        Mail::CreditsGranted => (["10 credits were", "10 créditos foram"], ["credits10"; 2], APP),
        Mail::SubscriptionCancelled => (days, ["free plan", "plano gratuito"], PORTAL),
        Mail::SubscriptionEnded => (["(pro)"; 2], ["free plan", "plano gratuito"], APP),
        Mail::TrialEnding | Mail::TrialExpired => (days, ["pro plan", "plano pro"], APP),
    }
}

#[test]
fn every_mail_speaks_in_every_language() {
    for (column, locale) in ["en", "pt-BR"].into_iter().enumerate() {
        for mail in Mail::ALL {
            let rendered = render(&TEMPLATES, mail, &data(mail), &context(locale)).unwrap();
            let (one, other, link) = says(mail);
            let place = format!("{} {locale}\n{}", mail.as_str(), rendered.text);
            assert!(rendered.subject.contains("Acme"), "{place}");
            for words in [one[column], other[column]] {
                assert!(rendered.text.contains(words), "{words}: {place}");
                assert!(rendered.html.contains(words), "{words}: {place}");
            }
            assert!(rendered.text.contains("Zoë"), "{place}");
            assert!(rendered.text.contains(link), "{place}");
            let first = format!("<a href=\"{}\" style=\"display: inline-block", link.replace('&', "&amp;"));
            assert!(rendered.html.contains(&first), "{place}\n{}", rendered.html);
            assert!(rendered.html.contains(&format!("<html lang=\"{locale}\">")));
        }
    }
}

#[test]
fn what_is_unknown_is_left_out() {
    let bare = RenderContext { workspace_name: "Acme".into(), ..RenderContext::default() };
    for locale in TEMPLATES.locales() {
        for mail in Mail::ALL {
            for data in [json!({}), json!(null), json!({"amount": 5, "currency": null, "paid_at": "soon", "plan": 3})] {
                let context = RenderContext { locale: locale.into(), ..bare.clone() };
                let rendered = render(&TEMPLATES, mail, &data, &context).unwrap();
                for text in [&rendered.subject, &rendered.text, &rendered.html] {
                    for trace in ["none", "undefined", "{{", "{%", "null", " ,", " .", "()"] {
                        // A style may say `none`, `.card` or ` .x {`: only what is between tags is read.
                        let read = text.split("</style>").last().unwrap().replace("display: none", "");
                        let read = read.replace("text-decoration: none", "");
                        assert!(!read.contains(trace), "{} {locale} {trace:?}: {text}", mail.as_str());
                    }
                }
                assert!(!rendered.html.contains("<a "), "no way out is known");
            }
        }
    }
}

#[test]
fn a_failed_payment_says_what_comes_next() {
    let cases = [
        (
            "en",
            1,
            json!(DAY),
            "Payment for Acme did not go through",
            "We will try again on 2 November 2026.",
            "last attempt",
        ),
        ("en", 2, json!(DAY), "Payment for Acme failed again", "We tried again, and could not collect", "last attempt"),
        ("en", 4, json!(null), "Last attempt failed: payment", "This was the last attempt", "We will try again"),
        // The day of the next attempt is over, as the mail had to wait.
        ("en", 1, json!(5), "Payment for Acme did not go through", "We will try again. So", "last attempt"),
        (
            "pt-BR",
            1,
            json!(DAY),
            "O pagamento de Acme não foi",
            "Tentaremos de novo em 2 de novembro de 2026.",
            "última tentativa",
        ),
        (
            "pt-BR",
            2,
            json!(DAY),
            "O pagamento de Acme falhou de novo",
            "Tentamos de novo e não conseguimos",
            "última tentativa",
        ),
        ("pt-BR", 4, json!(null), "Última tentativa sem sucesso", "Esta foi a última tentativa", "Tentaremos de novo"),
    ];
    for (locale, attempt, next, subject, said, unsaid) in cases {
        let mut data = data(Mail::PaymentFailed);
        data["next_payment_attempt"] = next;
        data["attempt"] = json!(attempt);
        let context = RenderContext { now: chrono::DateTime::from_timestamp(10, 0).unwrap(), ..context(locale) };
        let rendered = render(&TEMPLATES, Mail::PaymentFailed, &data, &context).unwrap();
        assert!(rendered.subject.starts_with(subject), "{}", rendered.subject);
        assert!(rendered.text.contains(said), "{}", rendered.text);
        assert!(!rendered.text.contains(unsaid), "{}", rendered.text);
    }
}

#[test]
fn a_hostile_name_is_only_text() {
    for locale in TEMPLATES.locales() {
        for mail in Mail::ALL {
            let hostile = RenderContext {
                workspace_name: "<script>alert('1')</script>\r\nBcc: all@example.com".into(),
                recipient_name: Some("\"><img src=x> {{ 7 * 7 }}".into()),
                plan_name: Some("<b>pro</b>".into()),
                ..context(locale)
            };
            let rendered = render(&TEMPLATES, mail, &data(mail), &hostile).unwrap();
            for tag in ["<script", "<img", "<b>", "\r\nBcc", "\nBcc", "49 }}"] {
                assert!(!rendered.html.contains(tag), "{tag}");
            }
            assert!(rendered.html.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; Bcc: all@example.com"));
            assert!(rendered.html.contains("&quot;&gt;&lt;img src=x&gt; {{ 7 * 7 }}"), "a name is not a template");
            assert!(rendered.text.contains("<script>alert('1')</script> Bcc"), "a text needs no escaping");
            assert!(!rendered.subject.contains(['\r', '\n']));
        }
    }
}

#[test]
fn a_link_of_another_scheme_is_dropped() {
    let mut data = data(Mail::PaymentFailed);
    data["hosted_invoice_url"] = json!("javascript:alert(1)");
    let rendered = render(&TEMPLATES, Mail::PaymentFailed, &data, &context("en")).unwrap();
    assert!(!rendered.html.contains("javascript"));
    assert!(!rendered.text.contains("javascript"));
    assert!(rendered.text.contains(PORTAL), "the next best way out");
}

#[test]
fn the_text_reads_as_a_letter() {
    let mut data = data(Mail::PaymentFailed);
    data["attempt"] = json!(1);
    let rendered = render(&TEMPLATES, Mail::PaymentFailed, &data, &context("en")).unwrap();
    assert_eq!(rendered.subject, "Payment for Acme did not go through");
    let expected = "\
Your payment did not go through

Hello Zoë,

We could not collect the payment of R$49.00 for Acme.

We will try again on 2 November 2026. So that the workspace keeps its plan, please see to it that the payment can go through by then.

You can pay now, with the same or with another payment method, on the invoice's page.

Invoice: ACME-0001
Amount due: R$49.00
Attempt: 1
Next attempt: 2 November 2026

Pay the invoice:
https://invoice.stripe.com/i/acct_1/test_1?s=ap&x=1

Change the payment method:
https://billing.stripe.com/p/login/test_1

--\x20
Acme
You receive this mail because you own the workspace Acme.
";
    assert_eq!(rendered.text, expected);
}
