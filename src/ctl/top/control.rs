//! What a person wants to see: keys that are pressed, to a sort, a filter, a selection and a page.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::ctl::top::model::Model;
use crate::id::KeyId;
use crate::protocol::reply::{KeyRow, KeyState};

/// In what order keys stand in their provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Name,
    Cost,
    Requests,
    State,
}

/// What is on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    All,
    Key(KeyId),
    Help,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Quit,
    /// The hours of this key are wanted.
    Hours(KeyId),
}

/// What was chosen.
#[derive(Debug, Clone)]
pub(super) struct Control {
    pub(super) sort: Sort,
    pub(super) filter: String,
    /// Is the filter being written?
    pub(super) writes: bool,
    pub(super) page: Page,
    /// None: the first that is shown.
    pub(super) selected: Option<KeyId>,
}

impl Default for Control {
    fn default() -> Self {
        Self { sort: Sort::Name, filter: String::new(), writes: false, page: Page::All, selected: None }
    }
}

impl Sort {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Sort::Name => "name",
            Sort::Cost => "cost",
            Sort::Requests => "requests",
            Sort::State => "state",
        }
    }

    const fn next(self) -> Self {
        match self {
            Sort::Name => Sort::Cost,
            Sort::Cost => Sort::Requests,
            Sort::Requests => Sort::State,
            Sort::State => Sort::Name,
        }
    }
}

/// The worst first.
const fn gravity(state: KeyState) -> u8 {
    match state {
        KeyState::Invalid => 0,
        KeyState::Sealed => 1,
        KeyState::Exhausted => 2,
        KeyState::CoolingDown => 3,
        KeyState::Disabled => 4,
        KeyState::Unknown => 5,
        KeyState::Healthy => 6,
    }
}

impl Control {
    /// The keys that are shown, by provider in the daemon's order.
    pub(super) fn shown<'a>(&self, model: &'a Model) -> Vec<&'a KeyRow> {
        let fits = |row: &&KeyRow| self.filter.is_empty() || format!("{}/{} {}", row.provider, row.key_name, row.state).contains(&self.filter);
        let mut shown = Vec::new();
        for provider in &model.status.providers {
            let mut keys: Vec<&KeyRow> = model.keys.iter().filter(|row| row.provider == provider.provider).filter(fits).collect();
            match self.sort {
                Sort::Name => keys.sort_by(|one, other| one.key_name.cmp(&other.key_name)),
                Sort::Cost => keys.sort_by_key(|row| std::cmp::Reverse(row.cost_today_usd)),
                Sort::Requests => keys.sort_by_key(|row| std::cmp::Reverse(row.requests_last_hour)),
                Sort::State => keys.sort_by_key(|row| gravity(row.state)),
            }
            shown.extend(keys);
        }
        shown
    }

    /// The place of the selected key among those that are shown.
    pub(super) fn place(&self, shown: &[&KeyRow]) -> usize {
        self.selected.as_ref().and_then(|selected| shown.iter().position(|row| row.id() == *selected)).unwrap_or(0)
    }

    /// Selects the key at a place.
    fn select(&mut self, place: usize, shown: &[&KeyRow]) {
        self.selected = shown.get(place.min(shown.len().saturating_sub(1))).map(|row| row.id());
    }

    /// A key was pressed.
    pub(super) fn press(&mut self, key: KeyEvent, model: &Model) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Wish::Quit;
        }
        if self.writes {
            self.write(key.code);
            return Wish::Nothing;
        }
        let shown = self.shown(model);
        let place = self.place(&shown);
        match key.code {
            KeyCode::Char('q') => return Wish::Quit,
            KeyCode::Esc if self.page == Page::All => self.filter.clear(),
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => self.page = Page::All,
            KeyCode::Char('?' | 'h') => self.page = if self.page == Page::Help { Page::All } else { Page::Help },
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('/') => (self.page, self.writes) = (Page::All, true),
            KeyCode::Down | KeyCode::Char('j') => self.select(place.saturating_add(1), &shown),
            KeyCode::Up | KeyCode::Char('k') => self.select(place.saturating_sub(1), &shown),
            KeyCode::Home | KeyCode::Char('g') => self.select(0, &shown),
            KeyCode::End | KeyCode::Char('G') => self.select(usize::MAX, &shown),
            KeyCode::Enter | KeyCode::Right if self.page == Page::All => {
                if let Some(row) = shown.get(place) {
                    let key = row.id();
                    self.page = Page::Key(key.clone());
                    return Wish::Hours(key);
                }
            }
            _ => {}
        }
        Wish::Nothing
    }

    fn write(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.writes = false,
            KeyCode::Esc => {
                self.filter.clear();
                self.writes = false;
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if !c.is_control() && self.filter.len() < 64 => self.filter.push(c),
            _ => {}
        }
        self.selected = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::top::model::tests::answers;

    fn press(control: &mut Control, model: &Model, keys: &str) -> Wish {
        let code = |c| if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) };
        keys.chars().map(|c| control.press(KeyEvent::new(code(c), KeyModifiers::NONE), model)).last().unwrap()
    }

    fn names(control: &Control, model: &Model) -> Vec<String> {
        control.shown(model).into_iter().map(|row| row.id().to_string()).collect()
    }

    #[test]
    fn keys_are_sorted_within_their_provider_and_filtered() {
        let (mut control, model) = (Control::default(), Model::new(answers()));
        assert_eq!(names(&control, &model), ["openai/backup", "openai/primary", "anthropic/main"]);
        press(&mut control, &model, "s");
        assert_eq!(names(&control, &model), ["openai/primary", "openai/backup", "anthropic/main"]);
        press(&mut control, &model, "/invalid\n");
        assert_eq!((names(&control, &model), control.writes), (vec!["anthropic/main".to_owned()], false));
        control.press(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE), &model);
        assert_eq!(names(&control, &model).len(), 3);
    }

    #[test]
    fn a_selected_key_has_a_page() {
        let (mut control, model) = (Control::default(), Model::new(answers()));
        assert_eq!(press(&mut control, &model, "jjjj\n"), Wish::Hours("anthropic/main".parse().unwrap()));
        assert_eq!(control.page, Page::Key("anthropic/main".parse().unwrap()));
        control.press(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE), &model);
        assert_eq!(control.page, Page::All);
        assert_eq!(press(&mut control, &model, "q"), Wish::Quit);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        press(&mut control, &model, "/q");
        assert_eq!(control.press(interrupt, &model), Wish::Quit);
        assert_eq!(control.filter, "q");
    }
}
