//! `/docs`: `/openapi.json` as a page to read. One file without scripts, that works without any network.

use serde_json::Value;

use crate::routes::escape;

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Weir: the HTTP API</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem; color: #1b2733; }
code, .path { font-family: ui-monospace, monospace; font-size: .92em; }
details { border: 1px solid #ccd6dd; border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 700; color: #05668d; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-top: 1px solid #e3e9ed; }
th { white-space: nowrap; }
</style>
<body>
";

/// Renders a description.
pub(crate) fn render(api: &Value) -> String {
    let mut page = String::from(HEAD);
    page += &format!("<h1>Weir {}</h1>", text(&api["info"]["version"]));
    page += &format!("<p>{}</p>", text(&api["info"]["description"]));
    page += "<p>For programs: <a href=\"/openapi.json\"><code>/openapi.json</code></a></p>";
    for tag in items(&api["tags"]) {
        page += &format!(
            "<h2>{}</h2><p>{}</p>",
            text(&tag["name"]),
            text(&tag["description"])
        );
        for (path, methods) in members(&api["paths"]) {
            for (method, operation) in members(methods) {
                if items(&operation["tags"]).contains(&tag["name"]) {
                    page += &render_operation(api, path, method, operation);
                }
            }
        }
    }
    page += "<h2>bodies</h2>";
    for (name, schema) in members(&api["components"]["schemas"]) {
        page += &render_schema(name, schema);
    }
    page += "<h2>headers</h2><table>";
    for (name, header) in members(&api["components"]["headers"]) {
        page += &row(name, &text(&header["description"]));
    }
    page += "</table></body></html>\n";
    page
}

fn render_operation(api: &Value, path: &str, method: &str, operation: &Value) -> String {
    let mut html = format!(
        "<details><summary><span class=\"method\">{}</span> <span class=\"path\">{}</span> &mdash; {}</summary><p>{}</p><table>",
        method.to_uppercase(),
        escape(path),
        text(&operation["summary"]),
        text(&operation["description"]),
    );
    for parameter in items(&operation["parameters"]) {
        let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
        html += &row(
            &format!("{name} ({place})"),
            &text(&parameter["description"]),
        );
    }
    let content = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !content.is_null() {
        html += &row("body", &type_of(content));
    }
    for (status, response) in members(&operation["responses"]) {
        let response = resolve(api, response);
        let schema = &response["content"]["application/json"]["schema"];
        let body = if schema.is_null() {
            String::new()
        } else {
            type_of(schema)
        };
        html += &row(
            status,
            &format!("{} {body}", text(&response["description"])),
        );
    }
    html + "</table></details>"
}

fn render_schema(name: &str, schema: &Value) -> String {
    let mut html = format!(
        "<details id=\"{0}\"><summary class=\"path\">{0}</summary><p>{1}</p><table>",
        escape(name),
        text(&schema["description"]),
    );
    let required = items(&schema["required"]);
    for (name, member) in members(&schema["properties"]) {
        let optional = if required.contains(&name.as_str().into()) {
            ""
        } else {
            " (optional)"
        };
        let one_of = items(&member["enum"])
            .iter()
            .map(text)
            .collect::<Vec<_>>()
            .join(", ");
        html += &row(
            &format!("{name}{optional}"),
            &format!(
                "{} {} {one_of}",
                type_of(member),
                text(&member["description"])
            ),
        );
    }
    html + "</table></details>"
}

fn row(name: &str, html: &str) -> String {
    format!(
        "<tr><th><code>{}</code></th><td>{html}</td></tr>",
        escape(name)
    )
}

/// What a value is, with a link if it is described elsewhere on the page.
fn type_of(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = escape(reference.rsplit('/').next().unwrap_or_default());
        return format!("<a href=\"#{name}\"><code>{name}</code></a>");
    }
    if !schema["items"].is_null() {
        return format!("array of {}", type_of(&schema["items"]));
    }
    let one_of = items(&schema["oneOf"]);
    if !one_of.is_empty() {
        return one_of.iter().map(type_of).collect::<Vec<_>>().join(" or ");
    }
    let properties = members(&schema["properties"]).map(|(name, _)| escape(name));
    let properties = properties.collect::<Vec<_>>().join(", ");
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().map(text).collect::<Vec<_>>().join(" or "),
        name => text(name),
    };
    if properties.is_empty() {
        name
    } else {
        format!("<code>{{{properties}}}</code>")
    }
}

fn resolve<'a>(api: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value["$ref"]
        .as_str()
        .and_then(|reference| reference.strip_prefix('#'));
    pointer
        .and_then(|pointer| api.pointer(pointer))
        .unwrap_or(value)
}

/// Text as HTML, with what stands between backticks as code.
fn text(value: &Value) -> String {
    let parts = value.as_str().unwrap_or_default().split('`').enumerate();
    parts
        .map(|(index, part)| match index % 2 {
            0 => escape(part),
            _ => format!("<code>{}</code>", escape(part)),
        })
        .collect()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
