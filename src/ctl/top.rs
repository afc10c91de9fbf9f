//! `gollmctl top`: the daemon on a full screen, live.

mod control;
mod model;
mod page;
mod rates;
mod screen;
mod view;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use clap::Args;
use ratatui::crossterm::event::{self as keyboard, KeyEvent};

use crate::ctl::console::{Console, Form};
use crate::ctl::daemon::{self, Link};
use crate::ctl::failure::Failure;
use crate::ctl::print::Style;
use crate::ctl::top::control::{Control, Page, Wish};
use crate::ctl::top::model::{Answers, Model};
use crate::ctl::top::screen::Screen;
use crate::ctl::top::view::Look;
use crate::environment::Environment;
use crate::id::KeyId;
use crate::money::Usd;
use crate::protocol::live::Event;
use crate::protocol::reply::Reply;
use crate::protocol::request::{self, Bucket, Op, Split};
use crate::time::Timestamp;

/// How long the daemon may take for an answer: the screen stands still meanwhile.
const QUICK: Duration = Duration::from_secs(2);

/// The screen is drawn so often at most.
const FRAME: Duration = Duration::from_millis(100);

/// And so often at least: its clock and its countdowns go on.
const CLOCK: Duration = Duration::from_secs(1);

/// What waits to be taken.
const INPUTS_MAX: usize = 1024;

/// How long a screen that is being drawn may hold up the end.
const END_TIME: Duration = Duration::from_secs(1);

/// How long to wait before a daemon that is gone is looked for again.
const AGAIN: Duration = Duration::from_secs(1);

const HOUR: Duration = Duration::from_secs(3600);

const HELP: &str = "\
Shows what `status` and `keys` show, moved on by the daemon's events: each provider and
key with its state, this hour and today against its limits, leases a second, cost a
minute, and what went wrong last. `?` shows its keys. It survives a restart of the daemon.";

/// Watch the daemon on a full screen, live
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Top {}

/// What comes to the screen.
enum Input {
    Key(KeyEvent),
    Resized,
    Heard(Arc<Event>),
    /// The daemon is heard, from now on.
    Found,
    Lost(String),
    /// A signal wants it to end.
    End,
}

impl Top {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        if console.form == Form::Json {
            return Err(Failure::Usage("top is for a person: `gollmctl status --json` and `gollmctl events --json` are for programs".to_owned()));
        }
        if !console.terminal || !io::stdin().is_terminal() {
            return Err(Failure::Usage("top needs a terminal: `gollmctl status` and `gollmctl events` write lines".to_owned()));
        }
        // Of what is not taken in time the daemon counts how much is missed.
        let (inputs, input) = sync_channel(INPUTS_MAX);
        // Before anything is asked, so that nothing is missed.
        listen(console.socket.clone(), console.environment.clone(), inputs.clone());
        let link = console.connect_within(QUICK)?;
        let model = Model::new(ask(&link, console)?);
        on_signals(inputs.clone())?;
        let mut screen = Screen::open().map_err(Failure::Output)?;
        read_keys(inputs);
        let look = Look { colour: console.style == Style::Colour };
        Show { console, link, model, control: Control::default(), hours: Vec::new(), look }.run(&mut screen, &input)
    }
}

/// Everything between the inputs and the screen.
struct Show<'a, 'b> {
    console: &'a Console<'b>,
    link: Link,
    model: Model,
    control: Control,
    /// What each of the last 24 hours cost, of the key whose page is open.
    hours: Vec<(Timestamp, Usd)>,
    look: Look,
}

impl Show<'_, '_> {
    fn run(&mut self, screen: &mut Screen, input: &Receiver<Input>) -> Result<(), Failure> {
        loop {
            let now = self.console.now();
            if self.model.is_due(now) {
                self.refresh()?;
            }
            let Self { model, control, hours, look, .. } = self;
            screen.terminal.draw(|frame| view::draw(frame, model, control, hours, *look, now)).map_err(Failure::Output)?;
            match input.recv_timeout(CLOCK) {
                Ok(first) => {
                    // What comes together is drawn together.
                    std::thread::sleep(if matches!(first, Input::Key(_)) { Duration::ZERO } else { FRAME });
                    for next in std::iter::once(first).chain(input.try_iter()) {
                        if self.take(next)? {
                            return Ok(());
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Asks the daemon anew; one that does not answer for now is found again later.
    fn refresh(&mut self) -> Result<(), Failure> {
        match ask(&self.link, self.console) {
            Ok(answers) => self.model.answer(answers),
            Err(failure) if failure.may_pass() => self.model.lose(failure.to_string()),
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Takes an input; `true`: it is over.
    fn take(&mut self, input: Input) -> Result<bool, Failure> {
        match input {
            Input::Key(key) => match self.control.press(key, &self.model) {
                Wish::Quit => return Ok(true),
                Wish::Hours(key) => self.hours = hours(&self.link, &key, self.console.now()).unwrap_or_default(),
                Wish::Nothing => {}
            },
            Input::Heard(event) => self.model.hear(&event),
            Input::Found => self.refresh()?,
            Input::Lost(why) => self.model.lose(why),
            Input::Resized => {}
            Input::End => return Ok(true),
        }
        if self.control.page == Page::All {
            self.hours.clear();
        }
        Ok(false)
    }
}

fn ask(link: &Link, console: &Console<'_>) -> Result<Answers, Failure> {
    let asked = console.now();
    let Reply::Status(status) = link.call(Op::Status)? else { return Err(Failure::unexpected("status")) };
    let Reply::Keys(keys) = link.call(Op::Keys(request::Keys::default())).or_else(while_locked)? else { return Err(Failure::unexpected("keys")) };
    let Reply::Alerts(alerts) = link.call(Op::Alerts).or_else(|failure| while_locked(failure).map(|_| Reply::Alerts(Vec::new())))? else {
        return Err(Failure::unexpected("alerts"));
    };
    Ok(Answers { asked, came: console.now(), status: *status, keys, alerts })
}

/// A daemon that is locked tells its status, and of no key.
fn while_locked(failure: Failure) -> Result<Reply, Failure> {
    if failure.status() == 6 { Ok(Reply::Keys(Vec::new())) } else { Err(failure) }
}

/// What each of the last 24 hours of a key cost.
fn hours(link: &Link, key: &KeyId, now: Timestamp) -> Option<Vec<(Timestamp, Usd)>> {
    let since = now.before(HOUR * 23);
    let by = Some(vec![Split::Key]);
    let question = request::Statistics { provider: Some(key.provider.clone()), by, since: Some(since), until: None, bucket: Some(Bucket::Hour) };
    let Ok(Reply::Statistics(answer)) = link.call(Op::Statistics(question)) else { return None };
    let cost_of = |start: Timestamp| {
        let of_key = answer.rows.iter().filter(|row| row.key_name.as_ref() == Some(&key.key) && row.bucket == Some(start));
        of_key.map(|row| row.cost_usd).sum()
    };
    Some((0..24).map(|hour| since.hour().after(HOUR * hour)).map(|start| (start, cost_of(start))).collect())
}

/// Listens to the daemon for as long as this runs, and finds it again where it was restarted.
fn listen(socket: Option<PathBuf>, environment: Environment, inputs: SyncSender<Input>) {
    std::thread::spawn(move || {
        loop {
            let heard = daemon::connect(socket.as_deref(), &environment, QUICK).and_then(|link| link.subscribe(&[]));
            let why = match heard {
                Ok(mut heard) => {
                    let mut told = inputs.send(Input::Found);
                    loop {
                        if told.is_err() {
                            return;
                        }
                        match heard.next() {
                            Ok(event) => told = inputs.send(Input::Heard(event)),
                            Err(failure) => break failure.to_string(),
                        }
                    }
                }
                Err(failure) => failure.to_string(),
            };
            if inputs.send(Input::Lost(why)).is_err() {
                return;
            }
            std::thread::sleep(AGAIN);
        }
    });
}

fn read_keys(inputs: SyncSender<Input>) {
    std::thread::spawn(move || {
        loop {
            let input = match keyboard::read() {
                Ok(keyboard::Event::Key(key)) => Input::Key(key),
                Ok(keyboard::Event::Resize(..)) => Input::Resized,
                Ok(_) => continue,
                // The terminal is gone.
                Err(_) => Input::End,
            };
            let is_end = matches!(input, Input::End);
            if inputs.send(input).is_err() || is_end {
                return;
            }
        }
    });
}

/// What wants this to end: the terminal is given back first.
fn on_signals(inputs: SyncSender<Input>) -> Result<(), Failure> {
    let what = |why: io::Error| Failure::Input { what: "signals can't be watched for".to_owned(), why: why.to_string() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(what)?;
    std::thread::spawn(move || {
        runtime.block_on(ended());
        // With no room for it, it is over all the same.
        inputs.try_send(Input::End).ok();
        std::thread::sleep(END_TIME);
        screen::give_back();
        std::process::exit(0);
    });
    Ok(())
}

#[cfg(unix)]
async fn ended() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut hang_up)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(not(unix))]
async fn ended() {
    drop(tokio::signal::ctrl_c().await);
}
