//! A rate limit service that reads what it is asked and says yes without deciding anything: the floor under every limiter that
//! speaks to Envoy over tonic.

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

struct Empty;

#[tonic::async_trait]
impl RateLimitService for Empty {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        // What is read must be used, or the compiler leaves the reading out.
        let code = match request.get_ref().descriptors.is_empty() {
            true => Code::OverLimit,
            false => Code::Ok,
        };
        Ok(Response::new(RateLimitResponse {
            overall_code: code.into(),
            ..RateLimitResponse::default()
        }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let service = RateLimitServiceServer::new(Empty);
    let server = Server::builder().add_service(service);
    Ok(server.serve(address.parse()?).await?)
}
