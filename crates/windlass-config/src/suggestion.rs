//! Flags of similar name, for one that does not exist.

use crate::flag::flags;

/// Most names that are suggested at once.
const MAX_SUGGESTIONS: usize = 3;

/// Names of the flags nearest to `name`, in alphabetical order.
pub(crate) fn near_names(name: &str) -> Vec<String> {
    // A third of the letters wrong is a typo still; more is another word.
    let most_edits = (name.chars().count() / 3).clamp(1, 4);
    let mut near: Vec<(usize, &str)> = flags()
        .map(|flag| (edits(name, flag.name), flag.name))
        .filter(|&(edits, candidate)| edits <= most_edits && candidate.len() > edits)
        .collect();
    near.sort_unstable();
    let nearest = near.first().map_or(0, |&(edits, _)| edits);
    near.retain(|&(edits, _)| edits == nearest);
    near.truncate(MAX_SUGGESTIONS);
    near.into_iter().map(|(_, name)| name.to_owned()).collect()
}

/// How many letters must be added, dropped, replaced or swapped with their neighbour to make
/// one name of the other.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut above: Vec<usize> = Vec::new();
    let mut row_before: Vec<usize> = (0..=to.len()).collect();
    for (i, &a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &b) in to.iter().enumerate() {
            let replaced = row_before[j] + usize::from(a != b);
            let mut fewest = replaced.min(row_before[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == to[j - 1] && from[i - 1] == b {
                fewest = fewest.min(above[j - 1] + 1);
            }
            row.push(fewest);
        }
        above = std::mem::replace(&mut row_before, row);
    }
    row_before[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_is_one_edit() {
        assert_eq!(edits("expander", "epxander"), 1);
        assert_eq!(edits("", "v"), 1);
        assert_eq!(edits("kitten", "sitting"), 3);
    }

    #[test]
    fn a_typo_finds_its_flag_and_nonsense_finds_none() {
        assert_eq!(near_names("expandr"), ["expander"]);
        assert_eq!(
            near_names("scale-down-uneeded-time")[0],
            "scale-down-unneeded-time"
        );
        assert_eq!(near_names("frobnicate-the-flux"), [""; 0]);
    }
}
