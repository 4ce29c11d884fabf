//! A check of templates, the form in which most files say what stands around a text: the library panics on a broken one.

use serde_json::Value;

/// What is wrong with the first broken template in a `post_processor`, which may hold several.
pub(super) fn fault(post_processor: &Value) -> Option<String> {
    let inner = post_processor["processors"].as_array();
    if let Some(fault) = inner.into_iter().flatten().find_map(fault) {
        return Some(fault);
    }
    if post_processor["type"] != "TemplateProcessing" {
        return None;
    }
    ["single", "pair"].into_iter().find_map(|form| {
        let pieces = post_processor[form].as_array()?;
        let found = pieces.iter().find_map(|piece| {
            if form == "single" && piece["Sequence"]["id"] == "B" {
                return Some("has a place for a second text".to_owned());
            }
            let token = piece["SpecialToken"]["id"].as_str()?;
            undefined(token, &post_processor["special_tokens"])
        })?;
        Some(format!("its post_processor's `{form}` {found}"))
    })
}

/// What is missing of a special token that a template has.
fn undefined(token: &str, special_tokens: &Value) -> Option<String> {
    let Some(defined) = special_tokens.get(token) else {
        return Some(format!(
            "has the token `{token}`, which its `special_tokens` lack"
        ));
    };
    let [ids, tokens] = ["ids", "tokens"].map(|key| defined[key].as_array().map_or(0, Vec::len));
    (ids != tokens).then(|| format!("has the token `{token}` of {ids} ids, with {tokens} texts"))
}
