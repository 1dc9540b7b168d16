//! One line of comma-separated values as Go's `encoding/csv` reads it: `pflag` splits the
//! values of its slice flags with that.

/// Splits the first line of `text` into its fields. A field may be quoted, with `""` for a
/// quote in it; what follows the line is left out, as by Go.
pub(crate) fn split_line(text: &str) -> Result<Vec<String>, &'static str> {
    let mut rest = text.trim_start_matches(['\r', '\n']);
    let mut fields = Vec::new();
    if rest.is_empty() {
        return Ok(fields);
    }
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
    let end = text.find([',', '\n']).unwrap_or(text.len());
    let (field, after) = text.split_at(end);
    let field = if after.starts_with('\n') {
        field.trim_end_matches('\r')
    } else {
        field
    };
    if field.contains('"') {
        return Err("a bare \" in a field that is not quoted");
    }
    Ok((field.to_owned(), after.strip_prefix(',')))
}

fn quoted_field(text: &str) -> Result<FieldAndRest<'_>, &'static str> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"').ok_or("a quote is not closed")?;
        field.push_str(part);
        if let Some(quoted_again) = after.strip_prefix('"') {
            field.push('"');
            rest = quoted_again;
        } else if let Some(after) = after.strip_prefix(',') {
            return Ok((field, Some(after)));
        } else if after.is_empty() || after.starts_with('\n') || after.starts_with("\r\n") {
            return Ok((field, None));
        } else {
            return Err("text behind a closing quote");
        }
    }
}

/// Writes fields so that [`split_line`] reads them back.
pub(crate) fn join_line<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let fields: Vec<String> = fields
        .map(|field| {
            if field.is_empty() || field.contains([',', '"', '\r', '\n']) {
                format!("\"{}\"", field.replace('"', "\"\""))
            } else {
                field.to_owned()
            }
        })
        .collect();
    fields.join(",")
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
        assert_eq!(split("a,b\n"), ["a", "b"]);
        assert_eq!(split("\"a\"\r\nb"), ["a"]);
    }

    #[test]
    fn what_is_joined_is_split_again() {
        for fields in [
            vec![],
            vec![""],
            vec!["a", "b,c", "say \"hi\"", "", "two\nlines"],
        ] {
            let line = join_line(fields.iter().copied());
            assert_eq!(split_line(&line).unwrap(), fields, "{line}");
        }
    }

    #[test]
    fn stray_quotes_are_refused() {
        for line in [r#"a"b"#, r#""a"#, r#""a"b"#] {
            assert!(split_line(line).is_err(), "{line}");
        }
    }
}
