//! Drives the daemon as programs do, step by step: leases, requests that nobody sends, reports.

use std::time::Duration;

use gollm::id::{KeyName, ModelName, ProviderName};
use gollm::money::Usd;
use gollm::protocol::error::ErrorCode;
use gollm::protocol::reply::Reported;
use gollm::protocol::request::{Estimate, KeySet, Op, Record, Report};
use gollm::secret::Secret;
use gollm::time::shift::Shift;
use gollm::time::{Day, Timestamp};
use gollm::{Client, Lease, Outcome, Select};
use tokio::task::JoinSet;

use crate::incidents::{Ending, INVALID, Incidents};
use crate::plan::{Request, Step};
use crate::scene;
use crate::tally::Tally;
use crate::{AFTERMATH, Failure};

/// How long a request takes.
const REQUEST_TIME: Duration = Duration::from_secs(20);

/// How often the daemon is asked whether it ended the leases that ran out.
const ASKED_MOST: usize = 10_000;

/// A lease that is not reported in time.
struct Left {
    lease: Lease,
    estimate: Usd,
    /// What is reported late, and when.
    late: Option<(Timestamp, Report)>,
    is_over: bool,
}

/// Drives one daemon.
pub(crate) struct Driver {
    client: Client,
    shift: Shift,
    incidents: Incidents,
    rng: fastrand::Rng,
    at: Timestamp,
    left: Vec<Left>,
    is_mended: bool,
    pub(crate) tally: Tally,
}

impl Driver {
    pub(crate) fn new(client: Client, shift: Shift, incidents: Incidents, seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed ^ 0x6d6f_6e74);
        Self { client, shift, incidents, rng, at: Timestamp::default(), left: Vec::new(), is_mended: false, tally: Tally::default() }
    }

    /// The day of the last step.
    pub(crate) fn today(&self) -> Day {
        self.at.day()
    }

    /// Goes forward to a step and takes it.
    pub(crate) async fn take(&mut self, step: Step) -> Result<(), Failure> {
        self.go_to(step.at).await?;
        if !self.is_mended && self.incidents.is_mended(step.at) {
            self.mend().await?;
        }
        let leases = self.select(&step.requests).await?;
        self.at = step.at.after(REQUEST_TIME);
        self.shift.forward_to(self.at);
        let mut reports = Vec::new();
        for (request, lease) in leases {
            reports.extend(self.end(&request, lease)?);
        }
        self.report(reports).await?;
        if let Some(used) = &step.recorded {
            self.record(used).await?;
        }
        Ok(())
    }

    /// Goes to the end, at which no lease is open. What would be reported after it never is.
    pub(crate) async fn finish(mut self, end: Timestamp) -> Result<Tally, Failure> {
        self.go_to(end.before(AFTERMATH / 2)).await?;
        self.go_to(end).await?;
        let open = self.client.status().await?.counts.leases_open;
        if open > 0 { Err(format!("{open} leases are open at the end").into()) } else { Ok(self.tally) }
    }

    /// Moves the clock; leases run out, and some of these are reported.
    async fn go_to(&mut self, at: Timestamp) -> Result<(), Failure> {
        self.at = at;
        self.shift.forward_to(at);
        for left in self.left.iter_mut().filter(|left| !left.is_over && left.lease.expires() <= at) {
            left.is_over = true;
            self.tally.expired(left.lease.provider().as_str(), left.estimate);
        }
        self.until_ended().await?;
        let mut reports = Vec::new();
        for mut left in std::mem::take(&mut self.left) {
            match left.late.take() {
                Some((due, report)) if left.is_over && due <= at => {
                    self.tally.late(left.lease.provider().as_str(), left.estimate);
                    reports.push((left.lease, report));
                }
                None if left.is_over => {}
                late => self.left.push(Left { late, ..left }),
            }
        }
        self.report(reports).await
    }

    /// Waits until the daemon ended what ran out: that costs limits their room, and belongs to this hour.
    async fn until_ended(&self) -> Result<(), Failure> {
        let open = self.left.iter().filter(|left| !left.is_over).count() as u64;
        if self.left.len() as u64 == open {
            return Ok(());
        }
        for _ in 0..ASKED_MOST {
            if self.client.status().await?.counts.leases_open <= open {
                return Ok(());
            }
        }
        Err("gollmd does not end leases that ran out".into())
    }

    /// Sets the key anew that turned invalid.
    async fn mend(&mut self) -> Result<(), Failure> {
        self.is_mended = true;
        let (provider, key) = INVALID;
        let set = KeySet {
            provider: provider.parse()?,
            key_name: key.parse()?,
            secret: Secret::new(scene::secret(provider, key, 1))?,
            rate_limit: None,
            cost_limit: None,
            enabled: None,
            weight: None,
            account: None,
            validate: None,
        };
        self.client.call(Op::KeySet(set)).await?;
        Ok(())
    }

    /// Selects for all requests at once, in their order. Those that get no key are not made.
    async fn select(&mut self, requests: &[Request]) -> Result<Vec<(Request, Lease)>, Failure> {
        let mut selects = JoinSet::new();
        for (place, request) in requests.iter().enumerate() {
            let (client, select) = (self.client.clone(), select_of(request)?);
            selects.spawn(async move { (place, client.select(select).await) });
        }
        let mut answers = selects.join_all().await;
        answers.sort_by_key(|(place, _)| *place);
        let mut leases = Vec::new();
        for (request, (_, answer)) in requests.iter().zip(answers) {
            match answer {
                Ok(lease) => leases.push((*request, lease)),
                Err(why) if why.code() == Some(ErrorCode::NoKeyAvailable) => self.tally.refused += 1,
                Err(why) => return Err(why.into()),
            }
        }
        Ok(leases)
    }

    /// What becomes of a lease: a report, or none yet.
    fn end(&mut self, request: &Request, lease: Lease) -> Result<Option<(Lease, Report)>, Failure> {
        let report = |outcome| Report::of(lease.id().clone(), outcome);
        if lease.fallback_from().is_some() && lease.model().is_none() {
            let cancelled = report(Outcome::Cancelled);
            return Ok(Some((lease, cancelled)));
        }
        // Here a program would send its request with the secret.
        if !scene::is_made_up(lease.secret()) {
            return Err("gollmd leased a secret that is none of the example's".into());
        }
        self.tally.fallen_back += u64::from(lease.fallback_from().is_some());
        let answered = Report {
            model: lease.model().cloned().or(Some(request.model.name.parse::<ModelName>()?)),
            input_tokens: Some(request.input),
            output_tokens: Some(request.output),
            cached_tokens: Some(request.cached),
            ..report(Outcome::Ok)
        };
        let late = match self.incidents.ending(lease.provider().as_str(), lease.key_name().as_str(), self.at, &mut self.rng) {
            Ending::Reported(Outcome::Ok, _) => return Ok(Some((lease, answered))),
            Ending::Reported(outcome, wait) => {
                let retry_after_ms = wait.map(|wait| u64::try_from(wait.as_millis())).transpose()?;
                let failed = Report { retry_after_ms, ..report(outcome) };
                return Ok(Some((lease, failed)));
            }
            Ending::Late(after) => Some((self.at.after(after), answered)),
            Ending::Never => None,
        };
        self.left.push(Left { lease, estimate: request.model.estimate(), late, is_over: false });
        Ok(None)
    }

    /// Reports all at once, in their order, and counts them.
    async fn report(&mut self, reports: Vec<(Lease, Report)>) -> Result<(), Failure> {
        let mut sent: JoinSet<Result<(Report, Reported), gollm::Error>> = JoinSet::new();
        for (lease, report) in reports {
            sent.spawn(async move {
                let reported = lease.settle(report.clone()).await?;
                Ok((report, reported))
            });
        }
        while let Some(taken) = sent.join_next().await {
            let (report, reported) = taken??;
            if reported.duplicate {
                return Err("gollmd took a report for one that was made before".into());
            }
            self.tally.reported(&report, &reported);
        }
        Ok(())
    }

    /// Tells of usage that had no lease.
    async fn record(&mut self, used: &Request) -> Result<(), Failure> {
        let record = Record {
            provider: used.provider.name.parse::<ProviderName>()?,
            key_name: "key-1".parse::<KeyName>()?,
            outcome: None,
            model: Some(used.model.name.parse::<ModelName>()?),
            input_tokens: Some(used.input),
            output_tokens: Some(used.output),
            cached_tokens: None,
            cost_usd: None,
        };
        let reported = self.client.record(record).await?;
        self.tally.recorded(used.input, used.output, &reported);
        Ok(())
    }
}

fn select_of(request: &Request) -> Result<Select, Failure> {
    let estimate = Estimate { cost_usd: Some(request.model.estimate()), ..Estimate::default() };
    Ok(Select {
        model: Some(request.model.name.parse::<ModelName>()?),
        estimate: Some(estimate),
        ..Select::any(request.provider.name.parse::<ProviderName>()?)
    })
}
