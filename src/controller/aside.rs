//! Work that may take seconds of a processor in; the same work, for which nothing else of the runtime waits, out.

use std::future::poll_fn;
use std::pin::pin;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Polls it where the runtime gives its other tasks to another thread meanwhile.
///
/// An Ingress may have thousands of paths, and what is worked out from them never waits. On as many of those as there are
/// workers, nobody would renew the lease or answer `/livez`.
pub(super) async fn aside<F: Future>(work: F) -> F::Output {
    let mut work = pin!(work);
    let parted = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    poll_fn(|context| match parted {
        true => block_in_place(|| work.as_mut().poll(context)),
        // A runtime of one thread has nobody to give them to.
        false => work.as_mut().poll(context),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn other_tasks_of_the_only_worker_go_on_meanwhile() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .expect("a runtime");
        let (say, hear) = mpsc::channel();
        let heard = runtime.block_on(async {
            let (begun, begins) = tokio::sync::oneshot::channel();
            let mut tasks = tokio::task::JoinSet::new();
            // It keeps its thread until the other task has run, as a computation that waits for nothing would.
            tasks.spawn(aside(async move {
                begun.send(()).expect("somebody waits");
                hear.recv_timeout(Duration::from_secs(60))
            }));
            begins.await.expect("it begins");
            tasks.spawn(async move {
                say.send("renewed").expect("somebody listens");
                Ok("renewed")
            });
            tasks.join_all().await
        });
        assert_eq!(heard, [Ok("renewed"), Ok("renewed")]);
    }

    #[test]
    fn a_runtime_of_one_thread_does_the_work_too() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        assert_eq!(runtime.block_on(aside(async { 7 })), 7);
    }
}
