//! Pages are the same on every node, and so is who reads them: people sign up on one node, and are known on all when it dies.

use e2e::{Client, Cluster, Node, Response, weir};
use serde_json::{Value, json};

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];

const CONFIG: &str = r#"
[cluster]
ack = "replicated"

[service]
public_url = "http://127.0.0.1:4000"
signup = "open"
"#;

pub(crate) const PASSWORD: &str = "correct horse battery";

fn service() -> Cluster {
    Cluster::service(CONFIG, &NAMES, &[])
}

/// What a browser keeps: it sends all of it to every node, which it takes for one behind a balancer.
#[derive(Default)]
pub(crate) struct Browser {
    cookies: Vec<(String, String)>,
    csrf: String,
}

impl Browser {
    fn send(
        &mut self,
        node: &Node,
        method: &str,
        path: &str,
        kind: &str,
        body: Option<&str>,
    ) -> Response {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookies = cookies.join("; ");
        let mut headers = vec![("Cookie", &*cookies), ("Sec-Fetch-Site", "same-origin")];
        if !self.csrf.is_empty() {
            headers.push(("X-CSRF-Token", &*self.csrf));
        }
        if body.is_some() {
            headers.push(("Content-Type", kind));
        }
        let mut client: Client = node.client();
        let answer = client
            .request(method, path, &headers, body)
            .expect("an answer");
        for (name, value) in &answer.headers {
            if name == "set-cookie" {
                let pair = value
                    .split(';')
                    .next()
                    .and_then(|pair| pair.split_once('='));
                let (name, value) = pair.expect("a cookie");
                self.cookies.retain(|(known, _)| known != name);
                if !value.is_empty() {
                    self.cookies.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        answer
    }

    pub(crate) fn json(
        &mut self,
        node: &Node,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Response {
        let body = body.map(|body| body.to_string());
        self.send(node, method, path, "application/json", body.as_deref())
    }

    pub(crate) fn page(&mut self, node: &Node, path: &str) -> Response {
        self.send(node, "GET", path, "", None)
    }

    pub(crate) fn form(&mut self, node: &Node, path: &str, form: &str) -> Response {
        self.send(
            node,
            "POST",
            path,
            "application/x-www-form-urlencoded",
            Some(form),
        )
    }
}

/// The value of a hidden field of a page.
#[track_caller]
pub(crate) fn hidden(page: &Response, name: &str) -> String {
    let begin = format!("name=\"{name}\" value=\"");
    let found = page
        .body
        .split_once(&begin)
        .and_then(|(_, rest)| rest.split('"').next());
    found
        .unwrap_or_else(|| panic!("no {name}: {page:?}"))
        .to_owned()
}

/// Where an answer leads to.
#[track_caller]
pub(crate) fn leads_to(answer: &Response) -> String {
    assert_eq!(answer.status, 303, "{answer:?}");
    answer.header("location").expect("an address").to_owned()
}

fn sign_up(browser: &mut Browser, node: &Node, email: &str) {
    let body = json!({ "email": email, "password": PASSWORD, "tenant": "Acme" });
    let answer = browser.json(node, "POST", "/v1/auth/sign-up", Some(body));
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[test]
fn pages_are_the_same_on_every_node() {
    let mut cluster = service();
    let mut ada = Browser::default();

    // As a browser does without scripts: a page, its form, the page after.
    let page = ada.page(&cluster.nodes[0], "/sign-up");
    assert_eq!(page.status, 200, "{page:?}");
    let form = format!(
        "csrf={}&email=ada%40example.com&password=correct+horse+battery&tenant=Acme",
        hidden(&page, "csrf")
    );
    let page = ada.form(&cluster.nodes[1], "/sign-up", &form);
    assert!(
        page.status == 200 && page.body.contains("Your recovery code"),
        "{page:?}"
    );
    let first = leads_to(&ada.page(&cluster.nodes[2], "/dashboard"));
    assert!(first.starts_with("/dashboard/tn_"), "{first}");

    let page = ada.page(&cluster.nodes[2], &format!("{first}/limits"));
    let form = format!(
        "csrf={}&name=daily&algorithm=sliding_log&limit=10&per=1d",
        hidden(&page, "csrf")
    );
    let next = leads_to(&ada.form(&cluster.nodes[0], &format!("{first}/limits"), &form));
    assert_eq!(next, format!("{first}/limits/daily"));

    let page = ada.page(&cluster.nodes[1], &format!("{first}/api-keys"));
    let form = format!(
        "csrf={}&name=edge&scopes=check&days=",
        hidden(&page, "csrf")
    );
    let page = ada.form(&cluster.nodes[1], &format!("{first}/api-keys"), &form);
    let key = page
        .body
        .split_once("<code id=\"secret\">")
        .and_then(|(_, rest)| rest.get(..59));
    let key = key.expect("an API key").to_owned();
    let page = ada.page(
        &cluster.nodes[2],
        &format!("{first}/api-keys/key_{}", &key[9..21]),
    );
    assert!(
        page.status == 200 && page.body.contains("<h1>edge</h1>"),
        "{page:?}"
    );
    drop(cluster.take("oskar2"));
    let bearer = format!("Bearer {key}");
    for (node, remaining) in cluster.nodes.iter().zip([9, 8]) {
        let body = json!({ "limit": "daily", "key": "bob" }).to_string();
        let answer = node.ask(
            "POST",
            "/v1/check",
            &[("Authorization", &bearer)],
            Some(&body),
        );
        assert_eq!(
            (answer.status, &answer.json()["remaining"]),
            (200, &json!(remaining)),
            "{answer:?}"
        );
    }
    for node in &cluster.nodes {
        let page = ada.page(node, &format!("{first}/limits/daily?key=bob"));
        assert!(page.body.contains("8 <small>of 10 left"), "{page:?}");
        let page = ada.page(node, &first);
        assert!(
            page.body.contains("<span data-requests>2</span>"),
            "the requests of the day: {page:?}"
        );
    }
    let form = format!(
        "csrf={}",
        hidden(&ada.page(&cluster.nodes[0], &first), "csrf")
    );
    assert_eq!(
        leads_to(&ada.form(&cluster.nodes[0], "/logout", &form)),
        "/login"
    );
    let page = ada.page(&cluster.nodes[1], &first);
    assert!(leads_to(&page).starts_with("/login?next="));
}

#[test]
fn the_first_operator_is_made_by_whoever_has_the_cookie() {
    let cluster = service();
    let url = format!("http://{}", cluster.nodes[1].http);
    let operator = |arguments: &[&str]| {
        let mut command = weir(cluster.home());
        command
            .args(arguments)
            .args(["--url", &url, "--cookie", Cluster::COOKIE]);
        let output = command.output().expect("running weir");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let link = operator(&["operator", "create", "root@example.com"]);
    let token = link.trim().strip_prefix("http://127.0.0.1:4000/reset/");
    let token = token
        .unwrap_or_else(|| panic!("no link: {link}"))
        .to_owned();
    let mut root = Browser::default();
    let body = json!({ "token": token, "password": PASSWORD });
    let answer = root.json(
        &cluster.nodes[2],
        "POST",
        "/v1/auth/reset",
        Some(body.clone()),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    let again = Browser::default().json(&cluster.nodes[0], "POST", "/v1/auth/reset", Some(body));
    assert_eq!(
        (again.status, &again.json()["type"]),
        (410, &json!("/problems/link-used"))
    );

    for node in &cluster.nodes {
        let page = root.page(node, "/dashboard/cluster");
        assert_eq!(page.status, 200, "{page:?}");
        for name in NAMES {
            assert!(
                page.body.contains(&format!("<td>{name}</td>")),
                "{name}: {page:?}"
            );
        }
    }
    let mut ada = Browser::default();
    sign_up(&mut ada, &cluster.nodes[0], "ada@example.com");
    assert_eq!(
        ada.page(&cluster.nodes[0], "/dashboard/cluster").status,
        403
    );
    assert_eq!(
        ada.json(&cluster.nodes[0], "GET", "/v1/tenants", None)
            .status,
        403
    );
    assert_eq!(
        root.json(&cluster.nodes[0], "GET", "/v1/tenants", None)
            .status,
        200
    );

    // Nobody is an operator any more on any node once that was answered.
    operator(&["operator", "remove", "root@example.com"]);
    for node in &cluster.nodes {
        assert_eq!(
            root.json(node, "GET", "/v1/tenants", None).status,
            403,
            "{}",
            node.name
        );
    }
}
