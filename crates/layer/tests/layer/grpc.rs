//! The layer before a real server of tonic, asked by a real client.

use client::Limits as _;
use layer::{Header, RateLimitLayer};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::played::Played;

async fn check(
    client: &HealthClient<Channel>,
    user: &str,
) -> Result<Response<HealthCheckResponse>, Status> {
    let mut request = Request::new(HealthCheckRequest::default());
    request
        .metadata_mut()
        .insert("x-user-id", user.parse().unwrap());
    client.clone().check(request).await
}

#[tokio::test]
async fn a_client_of_grpc_is_told_when_it_may_come_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let played = Played::default();
    let layer = RateLimitLayer::new(played.limit("2").unwrap()).by(Header("x-user-id"));
    let (_reporter, health) = tonic_health::server::health_reporter();
    let server = Server::builder().layer(layer).add_service(health);
    let serving = tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    let client = HealthClient::new(channel.connect().await.unwrap());
    for left in ["1", "0"] {
        let answer = check(&client, "ada").await.unwrap();
        assert_eq!(
            answer.metadata().get("x-ratelimit-remaining").unwrap(),
            left
        );
        assert_eq!(answer.get_ref().status(), ServingStatus::Serving);
    }
    for _ in 0..2 {
        let status = check(&client, "ada").await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.metadata().get("retry-after").unwrap(), "42");
        assert_eq!(
            status.metadata().get("ratelimit").unwrap(),
            r#""2";r=0;t=2"#
        );
    }
    assert!(check(&client, "bob").await.is_ok());
    let nobody = client.clone().check(HealthCheckRequest::default()).await;
    assert_eq!(nobody.unwrap_err().code(), Code::Unauthenticated);
    serving.abort();
}
