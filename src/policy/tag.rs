//! The names of tiers, and the tags of recovery points.

use std::fmt;

/// A tier of the retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tier {
    /// Each run.
    Daily,
    /// Runs of some days of the week.
    Weekly,
    /// Runs of one day of the month.
    Monthly,
    /// Runs of one day in some months.
    Yearly,
}

/// Why a point is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tag {
    /// It belongs to this tier.
    Tier(Tier),
    /// It was made on demand, without a date of its own. It is kept as long as the policy's shortest tier says.
    OnDemand,
}

impl Tag {
    /// The tag with this name. `None` if it is one of the user's own tags.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "daily" => Self::Tier(Tier::Daily),
            "weekly" => Self::Tier(Tier::Weekly),
            "monthly" => Self::Tier(Tier::Monthly),
            "yearly" => Self::Tier(Tier::Yearly),
            "on-demand" => Self::OnDemand,
            _ => return None,
        })
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tier(Tier::Daily) => "daily",
            Self::Tier(Tier::Weekly) => "weekly",
            Self::Tier(Tier::Monthly) => "monthly",
            Self::Tier(Tier::Yearly) => "yearly",
            Self::OnDemand => "on-demand",
        })
    }
}

impl Tag {
    const ALL: [Self; 5] = [
        Self::Tier(Tier::Daily),
        Self::Tier(Tier::Weekly),
        Self::Tier(Tier::Monthly),
        Self::Tier(Tier::Yearly),
        Self::OnDemand,
    ];

    fn bit(self) -> u8 {
        match self {
            Self::Tier(Tier::Daily) => 1,
            Self::Tier(Tier::Weekly) => 2,
            Self::Tier(Tier::Monthly) => 4,
            Self::Tier(Tier::Yearly) => 8,
            Self::OnDemand => 16,
        }
    }
}

/// The tags of a point. Thousands of points are looked at, so this is one byte.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tags(u8);

impl Tags {
    pub(crate) fn contains(self, tag: Tag) -> bool {
        self.0 & tag.bit() != 0
    }

    pub(crate) fn insert(&mut self, tag: Tag) {
        self.0 |= tag.bit();
    }

    pub(crate) fn remove(&mut self, tag: Tag) {
        self.0 &= !tag.bit();
    }

    /// The tags in the order of [`Tag`].
    pub(crate) fn iter(self) -> impl Iterator<Item = Tag> {
        Tag::ALL.into_iter().filter(move |tag| self.contains(*tag))
    }
}

impl FromIterator<Tag> for Tags {
    fn from_iter<T: IntoIterator<Item = Tag>>(tags: T) -> Self {
        Self(tags.into_iter().fold(0, |all, tag| all | tag.bit()))
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_a_set_in_the_order_of_the_tags() {
        let mut tags: Tags = [Tag::OnDemand, Tag::Tier(Tier::Weekly)].into_iter().collect();
        tags.insert(Tag::Tier(Tier::Daily));
        let names: Vec<_> = tags.iter().map(|tag| tag.to_string()).collect();
        assert_eq!(names, ["daily", "weekly", "on-demand"]);
        tags.remove(Tag::OnDemand);
        assert!(tags.contains(Tag::Tier(Tier::Weekly)) && !tags.contains(Tag::OnDemand));
        assert!(Tag::ALL.is_sorted());
        for tag in Tag::ALL {
            assert_eq!(Tag::from_name(&tag.to_string()), Some(tag));
        }
    }
}
