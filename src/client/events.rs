//! What happens, as the daemon tells it, on a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::buffer::{Inbox, encode};
use crate::client::connection::End;
use crate::client::error::{Attempt, Error};
use crate::client::handshake;
use crate::client::line::ended;
use crate::endpoint::{self, Endpoint, ReadHalf, WriteHalf};
use crate::protocol::live::{Event, EventKind};
use crate::protocol::reply::{Reply, Response};
use crate::protocol::request::{Op, Subscribe};

/// What happens, from [`Client::subscribe`](crate::Client::subscribe) on. Dropped, it ends its connection.
///
/// One that is read too slowly is told by [`Event::Lagged`] how many events it missed, and goes on with those that came after them.
pub struct Events {
    op: Op,
    reader: ReadHalf,
    _writer: WriteHalf,
    inbox: Inbox,
}

/// What a message of the daemon means for a subscriber.
pub(super) enum Heard {
    Event(Arc<Event>),
    /// The subscription is over, or the daemon says why it closes the connection.
    Over(End),
    /// Nothing.
    Nothing,
}

impl Heard {
    pub(super) fn of(response: Response, id: u64) -> Self {
        match response {
            Response { id: Some(answered), reply: Reply::Event(event) } if answered == id => Heard::Event(event),
            Response { id: None, reply: Reply::Error(why) } => Heard::Over(End::Refused(why)),
            Response { id: Some(answered), reply: Reply::Error(why) } if answered == id => Heard::Over(End::Refused(why)),
            Response { id: Some(answered), .. } if answered != id => Heard::Nothing,
            _ => Heard::Over(End::Garbled),
        }
    }
}

/// The request for such events.
pub(super) fn request(kinds: &[EventKind]) -> Op {
    Op::Subscribe(Subscribe { kinds: (!kinds.is_empty()).then(|| kinds.to_vec()) })
}

/// The number of the only request of the connection.
pub(super) const ID: u64 = 1;

impl Events {
    /// Subscribes at the first place where a daemon answers.
    pub(super) async fn open(places: &[Endpoint], kinds: &[EventKind], within: Duration) -> Result<Self, Error> {
        let op = request(kinds);
        let connecting = async {
            let mut tried = Vec::new();
            for endpoint in places {
                match hello(endpoint, &op, within).await {
                    Ok((reader, writer)) => return Ok((reader, writer)),
                    Err(handshake::Failure::Final(why)) => return Err(why),
                    Err(handshake::Failure::Absent(why)) => tried.push(Attempt { endpoint: endpoint.clone(), why: why.kind() }),
                }
            }
            Err(Error::NoDaemon { tried })
        };
        let connected = tokio::time::timeout(within, connecting).await;
        let (reader, writer) = connected.map_err(|_| Error::TimedOut { op: op.name(), within })??;
        Ok(Self { op, reader, _writer: writer, inbox: Inbox::new() })
    }

    /// The next event, whenever there is one. Dropping the wait loses nothing.
    ///
    /// # Errors
    /// The subscription was refused or ended, or the connection broke; subscribe again.
    pub async fn next(&mut self) -> Result<Arc<Event>, Error> {
        loop {
            let end = match self.inbox.take::<Response>() {
                Ok(Some(response)) => match Heard::of(response, ID) {
                    Heard::Event(event) => return Ok(event),
                    Heard::Nothing => continue,
                    Heard::Over(end) => end,
                },
                Ok(None) => match self.reader.read(self.inbox.space()).await {
                    Ok(count) if count > 0 => {
                        self.inbox.filled(count);
                        continue;
                    }
                    _ => End::Lost,
                },
                Err(_) => End::Garbled,
            };
            return Err(ended(end, &self.op, true));
        }
    }
}

async fn hello(endpoint: &Endpoint, op: &Op, within: Duration) -> Result<(ReadHalf, WriteHalf), handshake::Failure> {
    let mut stream = endpoint::connect(endpoint, within).await?;
    handshake::greet(&mut stream).await?;
    stream.write_all(&encode(ID, op).map_err(handshake::Failure::Final)?).await?;
    Ok(stream.split())
}
