//! `grpc.reflection`: what can be asked here, for `grpcurl` and its like.

use tonic::service::Routes;
use tonic_reflection::server::Builder;

/// The rate limit service with everything that it imports, compiled from the files that come with envoy-types 0.7.7, without
/// comments. envoy-types has no such set; a test compiles it again and compares.
const RATE_LIMIT_SERVICE: &[u8] = include_bytes!("reflection/rls.binpb");

/// Adds reflection to `routes`, in both versions that clients speak.
pub(crate) fn add_to(routes: Routes) -> Routes {
    let builder = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(RATE_LIMIT_SERVICE)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let broken = "the sets are those of the build";
    routes
        .add_service(builder().build_v1().expect(broken))
        .add_service(builder().build_v1alpha().expect(broken))
}
