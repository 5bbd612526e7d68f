//! `/docs`: `/openapi.json` as a page to read, search and send from. One file that works without any network.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::routes::escape;

const STYLE: &str = include_str!("docs.css");
const SCRIPT: &str = include_str!("docs.js");

/// What the page may do: its own style and script, and requests to the node that it came from.
pub(crate) fn security_policy() -> String {
    let digest = BASE64_STANDARD.encode(Sha256::digest(SCRIPT));
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    )
}

/// Renders a description.
pub(crate) fn render(api: &Value) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Weir: the HTTP API</title>\n<style>\n{STYLE}</style>\n<body>\n<div class=\"bar\"><input id=\"search\" type=\"search\" \
         placeholder=\"Search ( / )\" aria-label=\"Search\"><input id=\"token\" type=\"password\" placeholder=\"API token, if there is one\" \
         aria-label=\"API token\" autocomplete=\"off\"><button id=\"theme\" type=\"button\" aria-label=\"Light or dark\">\u{25d0}</button></div>\n"
    );
    page += &format!("<h1>Weir {}</h1>", text(&api["info"]["version"]));
    page += &format!("<p>{}</p>", text(&api["info"]["description"]));
    page += "<p class=\"soft\">For programs: <a href=\"/openapi.json\"><code>/openapi.json</code></a></p>";
    for tag in items(&api["tags"]) {
        page += &format!(
            "<section><h2>{}</h2><p>{}</p>",
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
        page += "</section>";
    }
    page += "<section><h2>bodies</h2>";
    for (name, schema) in members(&api["components"]["schemas"]) {
        page += &render_schema(name, schema);
    }
    page += "</section><section><h2>headers</h2><table>";
    for (name, header) in members(&api["components"]["headers"]) {
        page += &row(name, &text(&header["description"]));
    }
    page += &format!("</table></section><script>{SCRIPT}</script></body></html>\n");
    page
}

fn render_operation(api: &Value, path: &str, method: &str, operation: &Value) -> String {
    let mut html = format!(
        "<details id=\"{}\"><summary><span class=\"method\">{}</span> <span class=\"path\">{}</span> &mdash; {}</summary><p>{}</p><table>",
        escape(operation["operationId"].as_str().unwrap_or(path)),
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
    html += "</table>";
    html += &render_request(path, method, operation);
    html + "</details>"
}

/// A form that sends the request, filled with the examples, and the same as a command.
fn render_request(path: &str, method: &str, operation: &Value) -> String {
    let method = method.to_uppercase();
    let mut html = format!(
        "<form class=\"try\" data-method=\"{method}\" data-path=\"{}\">",
        escape(path)
    );
    let (mut target, mut query, mut headers) = (path.to_owned(), Vec::new(), Vec::new());
    for parameter in items(&operation["parameters"]) {
        let name = parameter["name"].as_str().unwrap_or_default();
        let values: Vec<String> = match &parameter["example"] {
            Value::Null => vec![],
            Value::Array(values) => values.iter().map(plain).collect(),
            value => vec![plain(value)],
        };
        let place = parameter["in"].as_str().unwrap_or("query");
        html += &format!(
            "<label><code>{0}</code><input name=\"{0}\" data-in=\"{1}\"{2} value=\"{3}\" autocomplete=\"off\"></label>",
            escape(name),
            escape(place),
            if parameter["example"].is_array() {
                " data-many"
            } else {
                ""
            },
            escape(&values.join(" ")),
        );
        match place {
            "path" => target = target.replace(&format!("{{{name}}}"), &values.join(" ")),
            "header" => headers.extend(values.iter().map(|value| format!("{name}: {value}"))),
            _ => query.extend(values.iter().map(|value| format!("{name}={value}"))),
        }
    }
    let body = &operation["requestBody"]["content"]["application/json"]["example"];
    let mut command = String::from("curl -i");
    if method != "GET" && (method != "POST" || body.is_null()) {
        command += &format!(" -X {method}");
    }
    for header in headers {
        command += &format!(" -H '{header}'");
    }
    if !body.is_null() {
        let indented = serde_json::to_string_pretty(body).unwrap_or_default();
        html += &format!(
            "<textarea aria-label=\"body\" spellcheck=\"false\">{}</textarea>",
            escape(&indented)
        );
        command += &format!(" -H 'Content-Type: application/json' -d '{body}'");
    }
    if !query.is_empty() {
        target += &format!("?{}", query.join("&"));
    }
    command += &format!(" '127.0.0.1:4000{target}'");
    html += "<div class=\"tools\"><button class=\"send\">Send</button><button class=\"copy\" type=\"button\">Copy as \
             curl</button><span class=\"status\"></span></div></form>";
    html += &format!("<pre class=\"curl\">{}</pre>", escape(&command));
    html + "<pre class=\"answer\" hidden></pre>"
}

/// A value as it stands in a query.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
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
                "{} {} {one_of} {}",
                type_of(member),
                text(&member["description"]),
                bounds(member),
            ),
        );
    }
    html + "</table></details>"
}

/// What a value is held to, as far as words do not say it.
fn bounds(schema: &Value) -> String {
    let range = [
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "pattern",
        "default",
    ];
    let given = range.iter().filter(|name| !schema[**name].is_null());
    let told = given.map(|name| format!("{name} <code>{}</code>", escape(&plain(&schema[*name]))));
    match told.collect::<Vec<_>>() {
        told if told.is_empty() => String::new(),
        told => format!("<span class=\"soft\">{}</span>", told.join(", ")),
    }
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
