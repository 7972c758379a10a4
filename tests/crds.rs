//! Our types in, `crds/*.yaml` out: fails where a file no longer says what the code says.
#![cfg(feature = "cluster")]

use std::path::Path;

use kube::CustomResourceExt;
use portcullis::crd::IngressClassParameters;
use portcullis::crd::load_balancer::LoadBalancerResource;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "one variable says that the files are to be written anew"
)]
fn the_files_say_what_the_code_says() {
    let write = std::env::var("PORTCULLIS_BLESS").is_ok_and(|value| value == "1");
    for crd in [LoadBalancerResource::crd(), IngressClassParameters::crd()] {
        let name = crd.spec.names.plural.clone();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("crds/{name}.yaml"));
        let want = format!(
            "# Generated from src/crd: PORTCULLIS_BLESS=1 cargo test --features cluster --test crds\n{}",
            serde_saphyr::to_string(&crd).unwrap()
        );
        if write {
            std::fs::write(&path, &want).unwrap();
        }
        let got = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            got == want,
            "crds/{name}.yaml is stale; run: PORTCULLIS_BLESS=1 cargo test --features cluster --test crds"
        );
    }
}
