//! Floats as Python's `repr` writes them.

/// Appends a float: shortest digits that read back equal, `1.0`, `1e+16`, `1e-05`, `NaN`,
/// `Infinity`, `-Infinity`.
pub(super) fn append(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        let word: &[u8] = if value > 0.0 { b"Infinity" } else { b"-Infinity" };
        return out.extend_from_slice(word);
    }
    let mut buffer = ryu::Buffer::new();
    append_as_repr(out, buffer.format_finite(value));
}

/// Takes Ryu's layout of the digits to Python's: they differ in the exponent's sign and width, and
/// in where small numbers change to the exponent form (below 1e-4 in Python, below 1e-5 in Ryu).
fn append_as_repr(out: &mut Vec<u8>, digits: &str) {
    let (sign, unsigned) = match digits.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", digits),
    };
    out.extend_from_slice(sign.as_bytes());
    if let Some(significant) = unsigned.strip_prefix("0.0000") {
        let (first, others) = significant.split_at(1);
        append_exponent_form(out, first, others, "-5");
    } else if let Some((mantissa, exponent)) = unsigned.split_once('e') {
        let (first, others) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        append_exponent_form(out, first, others, exponent);
    } else {
        out.extend_from_slice(unsigned.as_bytes());
    }
}

fn append_exponent_form(out: &mut Vec<u8>, first: &str, others: &str, exponent: &str) {
    out.extend_from_slice(first.as_bytes());
    if !others.is_empty() {
        out.push(b'.');
        out.extend_from_slice(others.as_bytes());
    }
    let (sign, magnitude) = match exponent.strip_prefix('-') {
        Some(magnitude) => (b'-', magnitude),
        None => (b'+', exponent),
    };
    out.extend_from_slice(&[b'e', sign]);
    if magnitude.len() == 1 {
        out.push(b'0');
    }
    out.extend_from_slice(magnitude.as_bytes());
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_exponent_form_begins_where_python_begins_it() {
        let cases = [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1.5e16, "1.5e+16"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-0.000_012_34, "-1.234e-05"),
            (5e-324, "5e-324"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            let mut out = Vec::new();
            super::append(&mut out, value);
            assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
        }
    }
}
