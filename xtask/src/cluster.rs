//! The versions in tests/cluster/go.mod in, a folder with kube-apiserver and etcd out.

use std::path::PathBuf;

use anyhow::Result;

use crate::cache::{Cache, variable};
use crate::go::Module;

const PROGRAMS: [&str; 2] = ["etcd", "kube-apiserver"];

/// The folder `KUBEBUILDER_ASSETS` names, if it has both programs. The name is a convention of Kubernetes' envtest.
pub(crate) fn given() -> Option<PathBuf> {
    let folder = PathBuf::from(variable("KUBEBUILDER_ASSETS")?);
    let whole = PROGRAMS.iter().all(|program| folder.join(program).is_file());
    // Tests run elsewhere: a relative path would mean another folder there.
    whole.then(|| std::path::absolute(folder).ok()).flatten()
}

pub(crate) fn ensure(cache: &Cache) -> Result<PathBuf> {
    if let Some(folder) = given() {
        return Ok(folder);
    }
    if let Some(named) = variable("KUBEBUILDER_ASSETS") {
        eprintln!("KUBEBUILDER_ASSETS={named} lacks kube-apiserver or etcd: building them");
    }
    let module = Module::of_tests("cluster")?;
    let kubernetes = module.version_of("k8s.io/kubernetes")?;
    let etcd = module.version_of("go.etcd.io/etcd/server/v3")?;
    cache.folder(&format!("kubernetes-{kubernetes}-etcd-{etcd}"), |folder| {
        eprintln!("building etcd {etcd} and kube-apiserver {kubernetes}, once: about 5 minutes on two cores");
        module.build(&folder.join("etcd"), "go.etcd.io/etcd/server/v3", "-s -w")?;
        // Without it the API server calls itself v0.0.0-master and clients refuse it.
        let flags = format!("-s -w -X k8s.io/component-base/version.gitVersion={kubernetes}");
        let package = "k8s.io/kubernetes/cmd/kube-apiserver";
        module.build(&folder.join("kube-apiserver"), package, &flags)
    })
}
