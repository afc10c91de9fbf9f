//! The answer that belongs to each question.

use std::collections::BTreeMap;

use crate::client::error::Error;
use crate::id::{KeyName, ProviderName};
use crate::protocol::alert::Alert;
use crate::protocol::explanation::Explanation;
use crate::protocol::reply::{KeyHealth, KeyRow, Lease, Reply, Reported, Statistics, Status, Validation, You};

/// Keys' health, by provider and key.
pub type Health = BTreeMap<ProviderName, BTreeMap<KeyName, KeyHealth>>;

const OTHER_KIND: Error = Error::Protocol { what: "gollmd answered another question than it was asked" };

macro_rules! answers {
    ($($name:ident: $pattern:pat => $value:expr, $type:ty;)*) => {
        $(pub(super) fn $name(reply: Reply) -> Result<$type, Error> {
            match reply {
                $pattern => Ok($value),
                Reply::Error(why) => Err(Error::Refused(why)),
                _ => Err(OTHER_KIND),
            }
        })*
    };
}

answers! {
    lease: Reply::Lease(lease) => lease, Lease;
    explanation: Reply::Explanation(explanation) => *explanation, Explanation;
    reported: Reply::Reported(reported) => reported, Reported;
    status: Reply::Status(status) => *status, Status;
    keys: Reply::Keys(keys) => keys, Vec<KeyRow>;
    statistics: Reply::Statistics(statistics) => statistics, Statistics;
    validations: Reply::Validations(validations) => validations, Vec<Validation>;
    health: Reply::Health(health) => health, Health;
    you: Reply::You(you) => you, You;
    alerts: Reply::Alerts(alerts) => alerts, Vec<Alert>;
}
