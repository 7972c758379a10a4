//! The SDKs' configuration in, one way to make a call out: timed, counted, with errors that have a code.

mod calls;
mod error;
mod guests;
mod meanings;
mod retry;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{Region, SdkConfig};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use portcullis_model::ProviderError;

use self::retry::{Budget, Retries};
use crate::resource::{CertificateArn, Pairs};
use crate::throttle::{Limit, Throttle};

pub use calls::{CallCount, Calls, Outcome};
pub(crate) use error::{conflict, incomplete, is_gone};
pub(crate) use guests::Guests;
pub use meanings::code_of;

/// Longest time of a call that changes something. A claim must cover it: the lease lasts 15 s and is renewed every
/// 2 s, which leaves a renewal time to be late by 5 s.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(8);

/// Longest time of a call that reads. A page of 1,000 security groups takes EC2 some seconds.
pub const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// What a call does, and so what it means that its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write,
}

/// Longest wait for the turn of a call that changes something. Its load balancer, and one place among those that are
/// worked on at once, are taken as long.
const WRITE_PATIENCE: Duration = Duration::from_secs(15);
/// Longest wait for the turn of a call that reads.
const READ_PATIENCE: Duration = Duration::from_secs(60);

tokio::task_local! {
    /// Set while reading what nobody waits for.
    static AT_LEISURE: ();
}

/// Reads so slowly that others hardly notice.
pub(crate) async fn at_leisure<T>(reads: impl Future<Output = T>) -> T {
    AT_LEISURE.scope((), reads).await
}

impl Effect {
    fn patience(self) -> Duration {
        match self {
            Self::Read => READ_PATIENCE,
            Self::Write => WRITE_PATIENCE,
        }
    }

    fn timeout(self) -> Duration {
        match self {
            Self::Read => READ_TIMEOUT,
            Self::Write => WRITE_TIMEOUT,
        }
    }
}

/// AWS Shield Advanced answers in one Region for all. Source: AWS General Reference, "AWS Shield Advanced endpoints".
const SHIELD_REGION: &str = "us-east-1";

/// The clients of the services. All calls go through [`Client::call`].
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) elb: aws_sdk_elasticloadbalancingv2::Client,
    pub(crate) ec2: aws_sdk_ec2::Client,
    pub(crate) acm: aws_sdk_acm::Client,
    pub(crate) wafv2: aws_sdk_wafv2::Client,
    pub(crate) tagging: aws_sdk_resourcegroupstagging::Client,
    pub(crate) shield: aws_sdk_shield::Client,
    /// Shared with the clients of other accounts.
    calls: Arc<Calls>,
    throttle: Mutex<Throttle>,
    imported: Mutex<BTreeMap<CertificateArn, Pairs>>,
    budget: Mutex<Budget>,
}

impl Client {
    /// The SDKs neither retry nor time out: whether to try again is decided by who knows the load balancer.
    pub(crate) fn new(config: &SdkConfig, limits: Vec<Limit>, calls: Arc<Calls>) -> Self {
        let config = config
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .build();
        Self {
            elb: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            ec2: aws_sdk_ec2::Client::new(&config),
            acm: aws_sdk_acm::Client::new(&config),
            wafv2: aws_sdk_wafv2::Client::new(&config),
            tagging: aws_sdk_resourcegroupstagging::Client::new(&config),
            shield: aws_sdk_shield::Client::from_conf(
                aws_sdk_shield::config::Builder::from(&config)
                    .region(Region::from_static(SHIELD_REGION))
                    .build(),
            ),
            calls,
            throttle: Mutex::new(Throttle::new(limits)),
            imported: Mutex::default(),
            budget: Mutex::default(),
        }
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Waits for the call's turn. Where that would take too long, it fails as AWS would have it fail, with the time to
    /// wait, and nothing is sent; a call with a `place` has its turn then. See [`Throttle::turn`].
    pub(crate) async fn turn(
        &self,
        name: &'static str,
        effect: Effect,
        place: Option<&str>,
    ) -> Result<(), ProviderError> {
        if AT_LEISURE.try_with(|()| ()).is_ok() {
            let wait = self.throttle().leisure(now());
            pause(wait).await;
        }
        let turn = self.throttle().turn(name, place, effect.patience(), now());
        match turn {
            Ok(wait) => {
                pause(wait).await;
                Ok(())
            }
            Err(wait) => {
                self.calls.count(name, Outcome::Postponed);
                Err(error::postponed(name, effect, wait))
            }
        }
    }

    /// Certificates that this process has imported, with their tags.
    pub(crate) fn imported(&self) -> MutexGuard<'_, BTreeMap<CertificateArn, Pairs>> {
        // Single inserts and removals: the map is whole whatever panicked while it held the lock.
        self.imported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        // Numbers alone: they are whole whatever panicked while it held the lock.
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        // As above.
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one call that reads, in its turn; again, a few times, where it may go better: reading changes nothing.
    pub(crate) async fn read<T, E, F>(
        &self,
        name: &'static str,
        request: impl Fn() -> F + Send,
    ) -> Result<T, ProviderError>
    where
        T: Send,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
    {
        let mut retries = Retries::default();
        loop {
            self.turn(name, Effect::Read, None).await?;
            let result = self.send(name, Effect::Read, request()).await;
            let Err(error) = result else {
                self.budget().succeeded();
                return result;
            };
            match retries.again(&error, retry::chance()) {
                Some(wait) if self.budget().take() => pause(wait).await,
                Some(_) | None => return Err(error),
            }
        }
    }

    /// Makes one call, whose turn it is. This is the one place where calls are sent and counted.
    pub(crate) fn send<T, E>(
        &self,
        name: &'static str,
        effect: Effect,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> impl Future<Output = Result<T, ProviderError>> + Send
    where
        T: Send,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
    {
        // An SDK's future takes some 10 kB. Kept in place, those of all calls together overflow a thread's stack.
        let request = Box::pin(request);
        async move {
            let result = match tokio::time::timeout(effect.timeout(), request).await {
                Ok(answered) => answered.map_err(|error| error::read(name, effect, &error)),
                Err(_) => Err(error::timeout(name, effect)),
            };
            let outcome = Outcome::of(&result);
            self.calls.count(name, outcome);
            if outcome == Outcome::Throttled {
                self.throttle().throttled(name, now());
            }
            result
        }
    }

    /// Reads page after page. `request` takes the marker of the page before; `page` gives the items and the next one.
    pub(crate) async fn pages<T, O, E, F>(
        &self,
        name: &'static str,
        request: impl Fn(Option<String>) -> F + Send + Sync,
        page: impl Fn(O) -> (Option<Vec<T>>, Option<String>),
    ) -> Result<Vec<T>, ProviderError>
    where
        O: Send,
        F: Future<Output = Result<O, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
    {
        let mut all = Vec::new();
        let mut marker = None;
        loop {
            let answer = self.read(name, || request(marker.clone())).await?;
            let (items, next) = page(answer);
            all.extend(items.unwrap_or_default());
            // EC2 ends with an empty marker, the others with none.
            match next.filter(|next| !next.is_empty()) {
                Some(next) => marker = Some(next),
                None => return Ok(all),
            }
        }
    }
}

async fn pause(wait: Duration) {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a turn is asked for at the moment of the call"
)]
fn now() -> Instant {
    Instant::now()
}
