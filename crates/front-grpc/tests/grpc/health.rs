//! Health, reflection, and the end.

use std::time::Duration;

use coordinator::Readiness;
use prost_types::FileDescriptorProto;
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::server::{Server, config, request, rules};

const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";
const WITHIN: Duration = Duration::from_secs(20);

fn asked(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn health_says_whether_the_node_takes_hits() {
    let server = Server::start(config(rules())).await;
    let mut client = HealthClient::new(server.channel().await);
    for (readiness, status) in [
        (Readiness::Joining, ServingStatus::NotServing),
        (Readiness::Ready, ServingStatus::Serving),
        (Readiness::NoQuorum, ServingStatus::NotServing),
        (Readiness::Draining, ServingStatus::NotServing),
    ] {
        *server.node.readiness.lock().unwrap() = readiness;
        for service in ["", SERVICE] {
            let told = client.check(asked(service)).await.unwrap().into_inner();
            assert_eq!(told.status(), status, "{service:?} {readiness:?}");
        }
    }
    let unknown = client.check(asked("other")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn who_watches_hears_of_changes_and_does_not_hold_up_the_end() {
    let server = Server::start(config(rules())).await;
    let mut client = HealthClient::new(server.channel().await);
    let mut watched = client.watch(asked(SERVICE)).await.unwrap().into_inner();
    let mut next = async || {
        let told = tokio::time::timeout(WITHIN, watched.next()).await;
        told.expect("in time")
            .map(|told: Result<HealthCheckResponse, _>| told.unwrap().status())
    };
    assert_eq!(next().await, Some(ServingStatus::Serving));
    *server.node.readiness.lock().unwrap() = Readiness::Draining;
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    // Well below the 10 s after which it would be cut off.
    let stopped = tokio::time::timeout(Duration::from_secs(8), server.stop());
    stopped.await.expect("it ends");
    assert_eq!(next().await, None);
}

/// Without a bound, each connection could have 256 who watch, each with a timer of its own.
#[tokio::test]
async fn only_so_many_may_watch() {
    let server = Server::start(config(rules())).await;
    let mut watching = Vec::new();
    for _ in 0..1_024 / 128 {
        let mut client = HealthClient::new(server.channel().await);
        for _ in 0..128 {
            watching.push(client.watch(asked("")).await.unwrap().into_inner());
        }
    }
    let mut client = HealthClient::new(server.channel().await);
    let refused = client.watch(asked("")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(client.check(asked("")).await.is_ok());
    watching.pop();
    let watched_again = async {
        while client.watch(asked("")).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, watched_again)
        .await
        .expect("a place is free when somebody has gone");
}

#[tokio::test]
async fn who_has_asked_is_answered_before_the_end_and_nobody_after() {
    let server = Server::start(config(rules())).await;
    let address = server.address;
    let mut client = server.client().await;
    client
        .should_rate_limit(request("edge", &["ip=1"]))
        .await
        .unwrap();
    // The connection is idle, and does not hold up the end.
    tokio::time::timeout(Duration::from_secs(8), server.stop())
        .await
        .expect("it ends");
    let after = client.should_rate_limit(request("edge", &["ip=1"])).await;
    assert_eq!(after.unwrap_err().code(), Code::Unavailable);
    tokio::net::TcpStream::connect(address).await.unwrap_err();
}

async fn reflect(server: &Server, message: MessageRequest) -> MessageResponse {
    let mut client = ServerReflectionClient::new(server.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message),
    };
    let asked = tokio_stream::once(request);
    let mut told = client
        .server_reflection_info(asked)
        .await
        .unwrap()
        .into_inner();
    let told: ServerReflectionResponse = told.next().await.unwrap().unwrap();
    told.message_response.unwrap()
}

#[tokio::test]
async fn reflection_lists_the_services_and_has_their_messages() {
    let server = Server::start(config(rules())).await;
    let list = MessageRequest::ListServices(String::new());
    let MessageResponse::ListServicesResponse(listed) = reflect(&server, list).await else {
        panic!("no list");
    };
    let mut names: Vec<_> = listed
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            SERVICE,
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
        ]
    );
    let symbol = MessageRequest::FileContainingSymbol(SERVICE.to_owned());
    let MessageResponse::FileDescriptorResponse(files) = reflect(&server, symbol).await else {
        panic!("no file");
    };
    use prost::Message as _;
    let file = FileDescriptorProto::decode(&*files.file_descriptor_proto[0]).unwrap();
    assert_eq!(file.service[0].method[0].name(), "ShouldRateLimit");
}
