//! Amounts as people read them: Stripe counts in a currency's minor unit, and not every currency has a hundred of them.

/// How a locale writes numbers.
#[derive(Debug, Default)]
pub(super) struct MoneyStyle {
    /// Between units and minor units.
    pub(super) decimal: String,
    /// Between groups of three digits.
    pub(super) group: String,
}

impl MoneyStyle {
    /// An amount's digits; `code` is the currency's ISO 4217 code in upper case.
    pub(super) fn number(&self, amount: u64, code: &str) -> String {
        let digits = minor_digits(code);
        let unit = 10_u64.pow(digits);
        let (units, minor) = (amount / unit, amount % unit);
        let units = self.grouped(units);
        if digits == 0 || (minor == 0 && has_no_minor_unit(code)) {
            return units;
        }
        format!("{units}{}{minor:0width$}", self.decimal, width = digits as usize)
    }

    fn grouped(&self, units: u64) -> String {
        let digits = units.to_string();
        let mut text = String::with_capacity(digits.len() * 2);
        for (at, digit) in digits.char_indices() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push_str(&self.group);
            }
            text.push(digit);
        }
        text
    }
}

/// Digits after the point in Stripe's amounts: <https://docs.stripe.com/currencies>, "Zero-decimal currencies",
/// "Three-decimal currencies" and "Special cases".
fn minor_digits(code: &str) -> u32 {
    match code {
        "BIF" | "CLP" | "DJF" | "GNF" | "JPY" | "KMF" | "KRW" | "MGA" | "PYG" | "RWF" | "VND" | "VUV" | "XAF"
        | "XOF" | "XPF" => 0,
        "BHD" | "JOD" | "KWD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

/// Stripe's special cases: counted in hundredths for compatibility, though the currency has none.
fn has_no_minor_unit(code: &str) -> bool {
    matches!(code, "ISK" | "UGX")
}

#[cfg(test)]
mod tests {

    #[test]
    fn amounts_follow_currency_and_locale() {
        let templates = crate::mail::Templates::load(None, None).unwrap();
        let cases = [
            (4900, "usd", "en", "$49.00"),
            (4900, "usd", "pt-BR", "US$ 49,00"),
            (4900, "brl", "pt-BR", "R$ 49,00"),
            (4900, "BRL", "en", "R$49.00"),
            (0, "usd", "en", "$0.00"),
            (5, "eur", "en", "€0.05"),
            (5, "eur", "pt-BR", "€ 0,05"),
            (-1250, "gbp", "en", "-£12.50"),
            (-1250, "brl", "pt-BR", "-R$ 12,50"),
            (4900, "cad", "en", "CAD 49.00"),
            (4900, "cad", "pt-BR", "CAD 49,00"),
            (123_456_789, "usd", "en", "$1,234,567.89"),
            (123_456_789, "brl", "pt-BR", "R$ 1.234.567,89"),
            (100_000, "usd", "en", "$1,000.00"),
            (99_999, "usd", "en", "$999.99"),
            // No minor unit.
            (4900, "jpy", "en", "JPY 4,900"),
            (4900, "krw", "pt-BR", "KRW 4.900"),
            (500, "clp", "en", "CLP 500"),
            (1, "xaf", "en", "XAF 1"),
            // Thousandths.
            (5120, "kwd", "en", "KWD 5.120"),
            (1_234_560, "bhd", "pt-BR", "BHD 1.234,560"),
            // Counted in hundredths that do not exist.
            (500, "isk", "en", "ISK 5"),
            (500_000, "ugx", "en", "UGX 5,000"),
            (550, "ugx", "en", "UGX 5.50"),
            (i64::MIN, "usd", "en", "-$92,233,720,368,547,758.08"),
            // Fallbacks of the locale.
            (4900, "brl", "pt", "R$ 49,00"),
            (4900, "usd", "xx", "$49.00"),
        ];
        for (amount, currency, locale, text) in cases {
            assert_eq!(
                templates.locale(locale).unwrap().amount(amount, currency),
                text,
                "{amount} {currency} {locale}"
            );
        }
    }
}
