//! Numbers, truths and text in a Compose file: where one may be written for another, and how Compose prints them.

use serde_yaml::Value;

/// A scalar as text, as Compose prints it.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => go_float(float),
            None => number.to_string(),
        },
        _ => String::new(),
    }
}

/// A fraction as Go prints it (format `g` of <https://pkg.go.dev/strconv>): the shortest digits that read back, with an
/// exponent from 1e+06 on and below 1e-04.
fn go_float(float: f64) -> String {
    let scientific = format!("{float:e}");
    let exponent = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    match (scientific.split_once('e'), exponent) {
        (Some((digits, _)), Some(exponent)) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => float.to_string(),
    }
}

/// `1.0` is `1` in Compose, which prints the shortest text that reads back.
pub(super) fn number_text(number: &serde_yaml::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.is_finite() => float.to_string(),
        _ => number.to_string(),
    }
}

/// `"3"` as 3; what is no number stays, for Compose to judge: some of these fields also take durations.
pub(super) fn number(value: &mut Value) {
    let Value::String(text) = value else { return };
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    if let Ok(whole) = text.parse::<i64>() {
        *value = Value::Number(whole.into());
    } else if let (true, Ok(fraction)) = (plain, text.parse::<f64>()) {
        *value = Value::Number(fraction.into());
    }
}

/// `0440` is octal in Compose, with quotes and without; YAML 1.2 reads it as text.
pub(super) fn octal(value: &mut Value) {
    let Value::String(text) = value else { return };
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = text.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    let radix = if is_octal { 8 } else { 10 };
    if let Ok(mode) = u32::from_str_radix(digits, radix) {
        *value = Value::Number(mode.into());
    }
}
