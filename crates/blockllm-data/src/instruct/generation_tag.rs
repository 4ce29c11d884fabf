//! transformers' tag `generation`, which the Jinja library does not know, written as a filter block, which it does.
//!
//! A block of a filter cuts spaces as any block does and may stand wherever one may.

/// The filter that tells what it stood around.
const FILTER: &str = "filter generation_mark__";

/// The source with `{% generation %}` and `{% endgeneration %}` as blocks of a filter, and whether there was one.
pub(super) fn with_filters(source: &str) -> (String, bool) {
    let mut rewritten = String::with_capacity(source.len());
    let mut rest = source;
    let mut found = false;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        rewritten.push_str(before);
        let name_at = tag.len() - tag.trim_start_matches(['-', '+']).trim_start().len();
        let name = &tag[name_at..];
        let word = name.len()
            - name
                .trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_')
                .len();
        let behind = name[word..].trim_start().trim_start_matches(['-', '+']);
        let replacement = match &name[..word] {
            "generation" => FILTER,
            "endgeneration" => "endfilter",
            _ => "",
        };
        if !replacement.is_empty() && behind.starts_with("%}") {
            found = true;
            rewritten.push_str(&tag[..name_at]);
            rewritten.push_str(replacement);
            rest = &name[word..];
        } else {
            rest = tag;
        }
    }
    rewritten.push_str(rest);
    (rewritten, found)
}

#[cfg(test)]
mod tests {
    use super::with_filters;

    #[test]
    fn only_the_tag_itself_is_rewritten() {
        let (text, found) =
            with_filters("{%- generation -%}a{% endgeneration+%}{{ generation }}{% if generation %}");
        assert_eq!(
            text,
            "{%- filter generation_mark__ -%}a{% endfilter+%}{{ generation }}{% if generation %}"
        );
        assert!(found);
        for same in [
            "{% set generation = 1 %}",
            "{%",
            "{% generationx %}",
            "generation é {%é",
        ] {
            assert_eq!(with_filters(same), (same.to_owned(), false));
        }
    }
}
