use std::collections::BTreeSet;
use std::path::Path;

use super::*;

fn embedded() -> Vec<Locale> {
    FILES.iter().map(|(tag, text)| Locale::parse(tag, text, tag).unwrap()).collect()
}

#[test]
fn a_language_falls_back_to_its_own() {
    let locales = embedded();
    let cases = [
        ("en", Some("en")),
        ("en-GB", Some("en")),
        ("EN_us", Some("en")),
        ("pt-BR", Some("pt-BR")),
        ("pt_br", Some("pt-BR")),
        ("pt", Some("pt-BR")),
        ("pt-PT", Some("pt-BR")),
        ("de", None),
        ("", None),
        ("-", None),
    ];
    for (wanted, tag) in cases {
        assert_eq!(find(&locales, wanted).map(|locale| locale.tag.as_str()), tag, "{wanted}");
    }
}

#[test]
fn days_are_written_out() {
    let at = DateTime::from_timestamp(1_793_577_600, 0).unwrap();
    let days: Vec<String> = embedded().iter().map(|locale| locale.day(at)).collect();
    assert_eq!(days, ["2 November 2026", "2 de novembro de 2026"]);
}

#[test]
fn every_catalogue_file_is_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/locales");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(files, FILES.iter().map(|(tag, _)| (*tag).to_owned()).collect());
}

/// A language with more plurals than two.
#[test]
fn plurals_are_those_of_the_language() {
    let said = "    .paragraph-1 =\n        { $credits ->\n            [one] { $credits } kredyt\n            \
        [few] { $credits } kredyty\n            [many] { $credits } kredytów\n           *[other] { $credits } kredytu\n        }\n";
    let english = FILES[0].1;
    let from = english.find("    .paragraph-1 =\n        { $has_credits").unwrap();
    let to = from + english[from..].find("    .detail-plan = Purchase").unwrap();
    let text = format!("{}{said}{}", &english[..from], &english[to..]);
    let polish = Locale::parse("pl", &text, "pl").unwrap();
    for (credits, words) in
        [(1, "1 kredyt"), (3, "3 kredyty"), (5, "5 kredytów"), (22, "22 kredyty"), (1000, "1000 kredytów")]
    {
        let mut values = FluentArgs::new();
        values.set("credits", credits);
        assert_eq!(polish.part("credits_granted", "paragraph-1", &values).unwrap(), words);
    }
}

#[test]
fn an_error_names_the_line_and_what_is_wrong() {
    let english = FILES[0].1;
    let line = |needle: &str| english[..english.find(needle).unwrap()].lines().count() + 1;
    let cases = [
        ("money-decimal = .", "money-decimal", "money-decimal"),
        ("    .detail-credits = Credits", "    .detail-colour = Credits", "detail-colour"),
        ("    .subject = Payment received for { $workspace }", "    .subject = For { $workspce }", "$workspce"),
        ("            [later] Your payment failed again", "            [later] Your { $payment } failed", "$payment"),
        ("    .heading = Your credits are ready", "    .headline = Your credits are ready", "headline"),
        ("    .paragraph-2 = You can subscribe again at any time.", "    .paragraph-2 = { -brand }", "-brand"),
        ("    .paragraph-2 = You can subscribe again at any time.", "    .paragraph-2 = { greeting }", "greeting"),
        (
            "    .paragraph-2 = You can subscribe again at any time.",
            "    .paragraph-2 = { NUMBER($credits) }",
            "NUMBER",
        ),
        // What cannot even be read: the first part of a mail, a later one, deep within, and no part.
        ("    .subject = Payment received for { $workspace }", "    .subject = For { $ }", "xpected"),
        ("    .heading = Your credits are ready", "    .heading = Your { credits are ready", "xpected"),
        ("            [later] Your payment failed again", "            [later Your payment failed again", "xpected"),
        ("money-decimal = .", "money-decimal .", "xpected"),
        ("        [3] March", "        [3] { $amount }", "$amount"),
    ];
    for (from, to, named) in cases {
        assert_eq!(english.matches(from).count(), 1, "{from}");
        let error = Locale::parse("en", &english.replace(from, to), "en.ftl").unwrap_err();
        let TemplateError::Catalogue { line: at, problem, .. } = &error else { panic!("{error}") };
        assert_eq!(*at, line(from), "{error}");
        assert!(problem.contains(named) || named == "money-decimal", "{error}");
    }
    for (from, to, named) in [
        ("footer =", "foot =", "foot is"),
        ("money-group = ,\n", "", "money-group"),
        ("trial_expired =", "trial_over =", "trial_over is"),
        ("    .preheader = The workspace is on the free plan now.\n", "", "preheader"),
        ("    .link-portal = Manage billing\n", "", "link-portal"),
    ] {
        let error = Locale::parse("en", &english.replace(from, to), "en.ftl").unwrap_err().to_string();
        assert!(error.contains(named) && error.contains("line "), "{error}");
    }
    assert!(Locale::parse("not a tag", english, "x").is_err());
}
