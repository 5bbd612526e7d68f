//! A program of one's own that answers with nothing, behind the layer of a node in it or, with `bare`, without one: what
//! lies between them is what a limit costs.

use std::future::ready;

use axum::Router;
use axum::routing::get;
use layer::{Query, RateLimitLayer};
use node::Node;

/// One that never denies, and one that always does once a key was seen.
const LIMITS: &str = r#"
[[limit]]
name = "admit"
algorithm = "gcra"
limit = 2_000_000_000
per = "1d"

[[limit]]
name = "deny"
algorithm = "gcra"
limit = 1
per = "1d"
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let is_bare = args.next().is_some_and(|word| word == "bare");
    let app = Router::new()
        .route("/admit", get(|| ready(())))
        .route("/deny", get(|| ready(())));
    // Kept until the program ends: a node stops when nobody holds it.
    let mut _node = None;
    let app = if is_bare {
        app
    } else {
        let node = Node::builder()
            .name("oskar")
            .cookie("a cookie for measuring, not for keeping secrets")
            .limits(LIMITS)?
            .start()
            .await?;
        let by_key =
            |limit| Ok::<_, client::Error>(RateLimitLayer::new(node.limit(limit)?).by(Query("k")));
        let app = Router::new()
            .route("/admit", get(|| ready(())).layer(by_key("admit")?))
            .route("/deny", get(|| ready(())).layer(by_key("deny")?));
        _node = Some(node);
        app
    };
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
