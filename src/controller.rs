//! Everything that runs in: watches, the lease, passes and what is told of them, until told to stop, out.
//!
//! One task follows each kind, one keeps the lease, one answers the admin address, and each pass is one. All are
//! joined here; one that ends unasked ends the controller, for a controller that is half dead looks alive.

mod aside;
mod clock;
mod floor;
mod tenancy;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kube::Client;
use portcullis_model::{ObjectName, Provider};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tracing::{info, warn};

pub use self::tenancy::Leadership;

use self::floor::{Floor, Shop};
use self::tenancy::Tenancy;
use crate::cluster::index::SecretsMode;
use crate::cluster::object::Kind;
use crate::cluster::watch::{self as follow, Health, SharedIndex};
use crate::reconcile::accounts::Accounts;
use crate::reconcile::bindings::{self, Bindings};
use crate::reconcile::brake::Brake;
use crate::reconcile::gates::keep::Keeper;
use crate::reconcile::lease::keep::Lost;
use crate::reconcile::lease::rival::{self, Contested, Rival};
use crate::reconcile::lease::{Standing, Tenure};
use crate::reconcile::memory::Memory;
use crate::reconcile::openings::Openings;
use crate::reconcile::pass::Site;
use crate::reconcile::queue::Pace;
use crate::reconcile::records::{self, Place, Records};
use crate::reconcile::secrets::SecretReader;
use crate::reconcile::shared::Spanning;
use crate::report::admin::{self, Answers};
use crate::report::metrics::{CallCount, Metrics};
use crate::report::write::Reporter;
use crate::translate::{self, Settings};

/// Longest time passes under way may take to end once told to stop; the kubelet waits 30 seconds before it kills.
const GRACE: Duration = Duration::from_secs(20);
/// Time between two looks at how things stand.
const TICK: Duration = Duration::from_secs(5);
/// Shortest time between two looks at TargetGroupBindings.
const BIND: Duration = Duration::from_millis(500);
/// Without a look for this long, the controller is stuck.
const STUCK: u64 = 60;

/// What a controller is made of.
#[derive(Debug)]
pub struct Setup<P> {
    pub provider: P,
    pub settings: Settings,
    pub place: Place,
    /// How often the provider's API was called so far, for `/metrics`.
    pub calls: fn(&P) -> Vec<CallCount>,
    pub pace: Pace,
    /// Time between two readings of what all load balancers of the account use.
    pub account_interval: Duration,
    /// Time between two looks for what was changed behind our back.
    pub sync_period: Duration,
    /// How much may be deleted at once.
    pub brake: Brake,
    /// Whether TargetGroupBindings that users wrote are served.
    pub bindings: Serve,
    /// Time between two looks at the health of targets that pods wait for.
    pub health_interval: Duration,
    /// The only one whose Ingresses are read; all where absent.
    pub namespace: Option<String>,
    pub leadership: Leadership,
    /// Lease of a controller that does the same work, and what is not changed while it is renewed.
    pub rival: Option<(ObjectName, Contested)>,
    /// Name of this process among all that ever run: for the lease and Events.
    pub identity: String,
    pub admin: Option<TcpListener>,
}

/// Whether something is served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serve {
    Yes,
    /// Another controller does, or nobody.
    No,
}

/// Why a controller ended unasked.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error("{0} ended")]
    Task(&'static str),
    #[error("a task panicked")]
    Panicked(#[source] JoinError),
}

/// Runs until `stop` is ready; then ends passes, gives the lease back and answers `Ok`.
pub async fn run<P: Provider>(
    client: Client,
    setup: Setup<P>,
    stop: impl Future<Output = ()>,
) -> Result<(), Ended> {
    let health = Arc::new(Health::default());
    let records = Arc::new(Records::new(client.clone(), setup.place));
    let index = Arc::new(SharedIndex::new(translate::index(
        &setup.settings,
        SecretsMode::NotRead,
    )));

    let (standing, standings) = watch::channel(match setup.leadership {
        Leadership::Lease { .. } => Standing::Waiting { holder: None },
        Leadership::Alone => Standing::Alone,
    });
    let mut tenure = Tenure::follow(standings);
    let mut tenancy = Tenancy::begin(setup.leadership, &setup.identity, standing, health.clone());

    // Before any of them begins: an empty list would look ready.
    for kind in Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Secret) {
        health.waits(kind.as_str(), "not listed yet".into());
    }
    let mut tasks: JoinSet<&'static str> = JoinSet::new();
    let (mut rival, mut of_bindings) = (Rival::none(), Rival::none());
    if let Some((lease, contested)) = setup.rival {
        // Who only serves no bindings is ready: Ingresses are.
        let (health, waiting) = match contested {
            Contested::Everything => (health.clone(), &mut rival),
            Contested::TargetGroupBindings => (Arc::default(), &mut of_bindings),
        };
        let (gone, unknown) = Rival::unknown(&health, &lease);
        *waiting = unknown;
        let client = client.clone();
        tasks.spawn(async move {
            rival::follow(client, lease, contested, &health, gone).await;
            "rival"
        });
    }
    let (touched, mut touches) = mpsc::unbounded_channel();
    for kind in Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Secret) {
        let (index, health, touched) = (index.clone(), health.clone(), touched.clone());
        let (client, namespace) = (client.clone(), setup.namespace.clone());
        tasks.spawn(async move {
            follow::follow(client, kind, namespace.as_deref(), index, health, touched).await;
            kind.as_str()
        });
    }
    let secrets = SecretReader::new(client.clone());
    tasks.spawn({
        let (client, index, needed) = (client.clone(), index.clone(), secrets.needed());
        async move {
            follow::follow_secrets(client, index, needed, touched).await;
            Kind::Secret.as_str()
        }
    });
    let (recorded, mut record_news) = mpsc::unbounded_channel();
    tasks.spawn({
        let (client, records, health) = (client.clone(), records.clone(), health.clone());
        async move {
            records::follow::follow(client, &records, &health, &recorded).await;
            "LoadBalancer"
        }
    });
    let (bound, mut binding_news) = mpsc::unbounded_channel();
    let openings = Arc::new(match setup.bindings {
        Serve::Yes => Openings::awaited(setup.settings.controller.semantics()),
        Serve::No => Openings::none(),
    });
    let bindings = match setup.bindings {
        Serve::Yes => {
            let bindings = Arc::new(Bindings::new(client.clone(), openings.clone()));
            let (client, followed, bound) = (client.clone(), bindings.clone(), bound.clone());
            tasks.spawn(async move {
                bindings::follow::follow(client, &followed, &bound).await;
                "TargetGroupBinding"
            });
            Some(bindings)
        }
        Serve::No => None,
    };
    let shop = Shop {
        bindings,
        gates: Keeper::new(client.clone()),
        reporter: Reporter::new(client, setup.identity, clock::now()),
        metrics: Metrics::default(),
        site: Site {
            provider: setup.provider,
            settings: setup.settings,
            index,
            records,
            secrets,
            tenure: tenure.clone(),
            accounts: Accounts::default(),
            spanning: Spanning::beside(openings),
            memory: Memory::default(),
            brake: setup.brake,
        },
    };
    let mut floor = Floor::new(shop, setup.pace, (rival.clone(), of_bindings.clone()));
    let beat = Arc::new(AtomicU64::new(clock::seconds()));
    if let Some(listener) = setup.admin {
        let answers = answers(floor.shop(), setup.calls, &health, &beat);
        tasks.spawn(async move {
            admin::serve(listener, Arc::new(answers)).await;
            "admin"
        });
    }

    let mut tick = tokio::time::interval(TICK);
    let mut refresh = later(setup.account_interval);
    let mut look = later(setup.sync_period);
    let mut bind = later(BIND);
    let mut probe = later(setup.health_interval);
    let mut stop = pin!(stop);
    loop {
        let due = floor.begin_turns();
        let wake = async {
            match due {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = &mut stop => break,
            Some(touch) = touches.recv() => floor.touched(touch),
            Some(news) = record_news.recv() => floor.records(news),
            Some(turn) = floor.turns.join_next() => floor.ended(&turn.map_err(Ended::Panicked)?),
            Some(chore) = floor.chores.join_next() => floor.done(chore.map_err(Ended::Panicked)?),
            Some(ended) = tasks.join_next() => {
                return Err(ended.map_or_else(Ended::Panicked, Ended::Task));
            }
            ended = tenancy.ended() => return Err(ended),
            () = tenure.changed() => {}
            () = rival.changed() => {}
            () = of_bindings.changed() => floor.may_bind(),
            _ = tick.tick() => {
                beat.store(clock::seconds(), Ordering::Relaxed);
                floor.measure();
            }
            _ = refresh.tick() => floor.refresh(),
            _ = look.tick() => floor.look_again(),
            _ = probe.tick() => floor.probe(),
            _ = bind.tick() => floor.bind(),
            Some(()) = binding_news.recv() => floor.may_bind(),
            () = wake => {}
        }
    }

    info!("stopping: passes under way may end");
    let passes = async {
        while let Some(turn) = floor.turns.join_next().await {
            turn.map_err(Ended::Panicked)?;
        }
        Ok::<_, Ended>(())
    };
    tokio::select! {
        // The lease is kept until they have ended.
        ended = tenancy.ended() => return Err(ended),
        passes = tokio::time::timeout(GRACE, passes) => match passes {
            Ok(passes) => passes?,
            Err(_) => warn!("passes under way were broken off; the next start takes them up again"),
        },
    }
    floor.turns.shutdown().await;
    floor.chores.shutdown().await;
    tenancy.release().await?;
    tasks.shutdown().await;
    info!("stopped");
    Ok(())
}

fn answers<P: Provider>(
    shop: Arc<Shop<P>>,
    calls: fn(&P) -> Vec<CallCount>,
    health: &Arc<Health>,
    beat: &Arc<AtomicU64>,
) -> Answers {
    let (health, beat) = (health.clone(), beat.clone());
    Answers {
        stuck: Box::new(move || {
            let age = clock::seconds().saturating_sub(beat.load(Ordering::Relaxed));
            let stuck = (age > STUCK).then(|| format!("main loop: has not turned for {age} s"));
            stuck.into_iter().collect()
        }),
        // Not for the lease itself: a replica that stands by is ready, else none could ever be rolled out.
        waiting: Box::new(move || health.waiting_for()),
        metrics: Box::new(move || {
            shop.metrics.calls(&calls(&shop.site.provider));
            shop.metrics.text()
        }),
        pages: BTreeMap::new(),
    }
}

/// Ticks, the first time after one period.
fn later(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}
