//! One line of comma-separated values as Go's `encoding/csv` reads it: `pflag` splits the
//! values of its slice flags with that.

/// Splits a line into its fields. A field may be quoted, with `""` for a quote in it.
pub(crate) fn split_line(line: &str) -> Result<Vec<String>, &'static str> {
    if line.is_empty() {
        return Ok(Vec::new());
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => plain_field(rest)?,
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// The field, and what stands behind its comma.
type FieldAndRest<'a> = (String, Option<&'a str>);

fn plain_field(text: &str) -> Result<FieldAndRest<'_>, &'static str> {
    let (field, after) = match text.split_once(',') {
        Some((field, after)) => (field, Some(after)),
        None => (text, None),
    };
    if field.contains('"') {
        return Err("a bare \" in a field that is not quoted");
    }
    Ok((field.to_owned(), after))
}

fn quoted_field(text: &str) -> Result<FieldAndRest<'_>, &'static str> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"').ok_or("a quote is not closed")?;
        field.push_str(part);
        match after.as_bytes().first() {
            None => return Ok((field, None)),
            Some(b',') => return Ok((field, Some(&after[1..]))),
            Some(b'"') => {
                field.push('"');
                rest = &after[1..];
            }
            Some(_) => return Err("text behind a closing quote"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_separate_and_quotes_protect_them() {
        let split = |line| split_line(line).unwrap();
        assert_eq!(split(""), [""; 0]);
        assert_eq!(split("a"), ["a"]);
        assert_eq!(split("a,b,,c"), ["a", "b", "", "c"]);
        assert_eq!(split(r#""a,b",c"#), ["a,b", "c"]);
        assert_eq!(split(r#""say ""hi""",c"#), [r#"say "hi""#, "c"]);
        assert_eq!(split(","), ["", ""]);
    }

    #[test]
    fn stray_quotes_are_refused() {
        for line in [r#"a"b"#, r#""a"#, r#""a"b"#] {
            assert!(split_line(line).is_err(), "{line}");
        }
    }
}
