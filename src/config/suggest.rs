//! What somebody may have meant who wrote an unknown word.

/// What to write instead of an unknown word: the nearest of the allowed ones, and all of them.
pub(super) fn suggestion(word: &str, allowed: &[&str]) -> String {
    let all = allowed.join(", ");
    let nearest = allowed.iter().map(|candidate| (distance(word, candidate), candidate)).min();
    match nearest {
        Some((steps, candidate)) if steps > 0 && steps <= 1 + candidate.len() / 5 => format!("did you mean `{candidate}`? allowed are {all}"),
        _ => format!("allowed are {all}"),
    }
}

/// How many letters must be put in, left out or changed to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    // A long word is near to nothing that is allowed, and this is quadratic.
    if one.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(other.chars()) {
            let best = (*cell + 1).min(left + 1).min(diagonal + usize::from(a != b));
            diagonal = *cell;
            *cell = best;
            left = best;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        assert_eq!(suggestion("rate_limt", &["rate_limit", "name"]), "did you mean `rate_limit`? allowed are rate_limit, name");
        assert_eq!(suggestion("colour", &["rate_limit", "name"]), "allowed are rate_limit, name");
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
