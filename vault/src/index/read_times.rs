//! When a check read the content of each pack. In the family `packs`: `r` id → two times in seconds, little endian:
//! since when the pack is known here, and when it was last read (0: never); and the number of the check of everything
//! that read it (u32, 0: another check). In `meta`: the number of the last check of everything, and when it began, or 0
//! if it has ended.

use jiff::Timestamp;
use lockstone_proto::ids::PackId;
use rocksdb::WriteBatch;

use super::{Index, META, PACKS, Result, records};

const READ: u8 = b'r';
const ROUND: &[u8] = b"check of everything";
/// A time that is later than now by more than this was noted while a clock was wrong.
const CLOCKS_DIFFER_S: i64 = 3600;

/// When a pack was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadTime {
    /// Since when it is known here, seconds since the epoch.
    pub(crate) known_s: i64,
    /// When it was last read; `None` if it never was.
    pub(crate) read_s: Option<i64>,
    /// The check of everything that read it; 0 if it was another check.
    pub(crate) round: u32,
}

impl ReadTime {
    /// Since when nobody has looked whether it is whole.
    pub(crate) fn unread_since_s(self) -> i64 {
        self.read_s.unwrap_or(self.known_s)
    }
}

/// What is known of when packs were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// The bytes of the packs that count.
    pub bytes: u64,
    /// The bytes of those that were never read here.
    pub bytes_never_read: u64,
    /// Since when the pack is unread that waits for the longest time, seconds since the epoch. `None` without packs.
    pub unread_since_s: Option<i64>,
}

impl Index {
    /// Notes that the content of a pack was read, and by which check of everything (0: by another check).
    pub(crate) fn note_read(&self, pack: &PackId, now: Timestamp, round: u32) -> Result<()> {
        let known_s = self.read_time(pack, now)?.map_or(now.as_second(), |time| time.known_s);
        let time = ReadTime {
            known_s,
            read_s: Some(now.as_second()),
            round,
        };
        self.put_read_times(&[(*pack, time)])
    }

    /// Notes packs that are known from now on.
    pub(crate) fn note_known(&self, packs: &[PackId], now: Timestamp) -> Result<()> {
        let time = ReadTime {
            known_s: now.as_second(),
            read_s: None,
            round: 0,
        };
        let notes: Vec<_> = packs.iter().map(|pack| (*pack, time)).collect();
        self.put_read_times(&notes)
    }

    fn put_read_times(&self, times: &[(PackId, ReadTime)]) -> Result<()> {
        let family = self.family(PACKS)?;
        let mut batch = WriteBatch::default();
        for (pack, time) in times {
            let (known, read) = (
                time.known_s.to_le_bytes(),
                time.read_s.unwrap_or_default().to_le_bytes(),
            );
            let value = [known.as_slice(), &read, &time.round.to_le_bytes()].concat();
            batch.put_cf(family, records::id_key(READ, pack.as_bytes()), value);
        }
        self.write(batch)
    }

    /// When a pack was read; `None` if it was not noted as known yet, or while the clock was wrong.
    pub(crate) fn read_time(&self, pack: &PackId, now: Timestamp) -> Result<Option<ReadTime>> {
        let Some(value) = self.get(PACKS, &records::id_key(READ, pack.as_bytes()))? else {
            return Ok(None);
        };
        let Some((known, read, round)) = parts(&value) else {
            return Err(self.corrupt("when a pack was read"));
        };
        let is_possible = |time_s: &i64| *time_s <= now.as_second().saturating_add(CLOCKS_DIFFER_S);
        let read_s = Some(read).filter(|read| *read != 0).filter(is_possible);
        let known_s = Some(known).filter(is_possible);
        Ok(known_s.map(|known_s| ReadTime { known_s, read_s, round }))
    }

    /// What is known of when the packs were read that are not condemned, distrusted or gone.
    pub fn reading(&self, now: Timestamp) -> Result<Reading> {
        let mut reading = Reading::default();
        let mut failed = None;
        for first in 0..=u8::MAX {
            self.packs_beginning(
                first,
                &mut |id, number| match self.add_reading(&mut reading, &id, number, now) {
                    Ok(()) => true,
                    Err(error) => {
                        failed = Some(error);
                        false
                    }
                },
            )?;
        }
        failed.map_or(Ok(reading), Err)
    }

    fn add_reading(&self, reading: &mut Reading, id: &PackId, number: u32, now: Timestamp) -> Result<()> {
        let Some(pack) = self
            .pack(number)?
            .filter(|_| self.standing(number) == super::Standing::Good)
        else {
            return Ok(());
        };
        let time = self.read_time(id, now)?;
        reading.bytes += pack.len;
        if time.is_none_or(|time| time.read_s.is_none()) {
            reading.bytes_never_read += pack.len;
        }
        let since = time.map_or(now.as_second(), ReadTime::unread_since_s);
        reading.unread_since_s = Some(reading.unread_since_s.map_or(since, |oldest| oldest.min(since)));
        Ok(())
    }

    /// The number of the last check of everything, and when it began, seconds since the epoch; `None` if it has ended.
    pub(crate) fn last_round(&self) -> Result<(u32, Option<i64>)> {
        let Some(value) = self.get(META, ROUND)? else {
            return Ok((0, None));
        };
        let split = value.split_first_chunk::<4>();
        let Some((round, Ok(begun))) = split.map(|(round, begun)| (round, <[u8; 8]>::try_from(begun))) else {
            return Err(self.corrupt("the last check of everything"));
        };
        let begun_s = Some(i64::from_le_bytes(begun)).filter(|begun| *begun != 0);
        Ok((u32::from_le_bytes(*round), begun_s))
    }

    /// Notes the number of the last check of everything, and when it began; `None`: it has ended.
    pub(crate) fn note_round(&self, round: u32, begun_s: Option<i64>) -> Result<()> {
        let mut batch = WriteBatch::default();
        let begun = begun_s.unwrap_or_default().to_le_bytes();
        batch.put_cf(
            self.family(META)?,
            ROUND,
            [round.to_le_bytes().as_slice(), &begun].concat(),
        );
        self.write(batch)
    }
}

/// The two times and the number of a note.
fn parts(value: &[u8]) -> Option<(i64, i64, u32)> {
    let (known, rest) = value.split_first_chunk()?;
    let (read, round) = rest.split_first_chunk()?;
    let (known, read) = (i64::from_le_bytes(*known), i64::from_le_bytes(*read));
    Some((known, read, u32::from_le_bytes(round.try_into().ok()?)))
}
