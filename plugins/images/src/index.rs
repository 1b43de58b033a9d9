//! The samples of an archive, and the index beside it that saves looking for them again.
//!
//! The index is a file with the archive's name and `.index`. It is written when an archive is opened for
//! the first time, and again if the archive or the settings of the labels have changed. Where it cannot be
//! written, the archive's headers are read each time.

use std::{collections::HashMap, fs, path::PathBuf, time::UNIX_EPOCH};

use fluxbay_plugin::prelude::*;

use crate::keys::{
    Keys, Number as _, keep_index, put_names, put_numbers, take_names, take_numbers,
};
use crate::tar::{Archive, Member};

/// Endings of files that are taken for images.
const IMAGES: [&str; 9] = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "jfif"];
/// First bytes of an index; the last one is its version.
const MAGIC: &[u8; 8] = b"fbindex\x02";
/// Most bytes of a file with a label.
const MOST_LABEL: u64 = 1 << 20;

/// Where labels are.
#[derive(Clone, Debug)]
pub struct Labels {
    /// Ending of their files.
    pub ending: String,
    /// Key in a JSON object.
    pub key: Option<String>,
}

/// The place of a label of a sample without one.
pub const NO_LABEL: u32 = u32::MAX;

/// What is in an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Names of the images in the archive.
    pub keys: Keys,
    /// Where each image begins, and how many bytes it has.
    at: Vec<u64>,
    sizes: Vec<u64>,
    /// Places of their labels in `labels`, or [`NO_LABEL`].
    pub of: Vec<u32>,
    /// The different labels, in the order in which they occur.
    pub labels: Vec<String>,
}

/// Different labels while samples are collected.
#[derive(Default)]
struct Different<'a> {
    places: HashMap<&'a str, u32>,
    labels: Vec<&'a str>,
}

impl<'a> Different<'a> {
    /// The place of a label.
    fn place(&mut self, label: &'a str) -> u32 {
        let next = self.labels.len() as u32;
        let place = *self.places.entry(label).or_insert(next);
        if place == next {
            self.labels.push(label);
        }
        place
    }

    fn owned(&self) -> Vec<String> {
        self.labels.iter().map(|label| (*label).to_owned()).collect()
    }
}

/// The samples of an archive, from its index if it is still right.
///
/// # Errors
/// The archive cannot be read, or a label in it.
pub fn of(archive: &Archive, labels: &Labels) -> Result<Index> {
    let path = PathBuf::from(format!("{}.index", archive.path.display()));
    let head = head(archive, labels)?;
    let saved = fs::read(&path).ok().and_then(|bytes| parse(bytes.strip_prefix(&*head)?, archive));
    if let Some(found) = saved {
        return Ok(found);
    }
    let found = samples(archive, labels)?;
    keep_index(&path, &[&head, &*bytes(&found)].concat());
    Ok(found)
}

/// What an index begins with if it is one of this archive, as it is now, with these labels.
fn head(archive: &Archive, labels: &Labels) -> Result<Vec<u8>> {
    let changed = fs::metadata(&archive.path).and_then(|data| data.modified());
    let changed = changed.context(archive.path.display())?;
    let changed = changed.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let mut head = MAGIC.to_vec();
    archive.length.put(&mut head);
    changed.put(&mut head);
    for text in [Some(&labels.ending), labels.key.as_ref()] {
        put(&mut head, text.map(String::as_str));
    }
    Ok(head)
}

/// A text with its length, or the mark of no text.
fn put(bytes: &mut Vec<u8>, text: Option<&str>) {
    let Some(text) = text else { return bytes.extend(u32::MAX.to_le_bytes()) };
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn bytes(index: &Index) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_numbers(&mut bytes, &index.at);
    put_numbers(&mut bytes, &index.sizes);
    put_numbers(&mut bytes, &index.of);
    index.keys.put(&mut bytes);
    put_names(&mut bytes, &index.labels);
    bytes
}

/// The samples of an index; `None` if it is damaged.
fn parse(mut rest: &[u8], archive: &Archive) -> Option<Index> {
    let (at, sizes): (Vec<u64>, Vec<u64>) = (take_numbers(&mut rest)?, take_numbers(&mut rest)?);
    let (of, keys): (Vec<u32>, _) = (take_numbers(&mut rest)?, Keys::take(&mut rest)?);
    let labels = take_names(&mut rest)?;
    let inside =
        |(at, size): (&u64, &u64)| at.checked_add(*size).is_some_and(|end| end <= archive.length);
    let known = |label: &u32| *label == NO_LABEL || (*label as usize) < labels.len();
    let complete = [sizes.len(), of.len(), keys.len()] == [at.len(); 3] && rest.is_empty();
    let usable = complete && at.iter().zip(&sizes).all(inside) && of.iter().all(known);
    usable.then_some(Index { keys, at, sizes, of, labels })
}

impl Index {
    /// Where an image begins in the archive, and how many bytes it has.
    pub fn place(&self, sample: usize) -> (u64, u64) {
        (self.at[sample], self.sizes[sample])
    }
}

/// Name of a sample and ending of a file: what is before the first dot of its last part, and behind it.
fn parted(name: &str) -> Option<(&str, &str)> {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = start + name[start..].find('.')?;
    (dot > start).then(|| (&name[..dot], &name[dot + 1..]))
}

/// The samples of an archive: files of one name that follow each other.
fn samples(archive: &Archive, labels: &Labels) -> Result<Index> {
    let members = archive.members()?;
    let mut found = Vec::new();
    let same = |one: &Member, other: &Member| {
        parted(&one.name).map(|(name, _)| name) == parted(&other.name).map(|(name, _)| name)
    };
    for sample in members.chunk_by(same) {
        let ending = |member: &&Member, is: &dyn Fn(&str) -> bool| {
            parted(&member.name).is_some_and(|(_, ending)| is(ending))
        };
        let is_image = |ending: &str| {
            let last = ending.rsplit('.').next().unwrap_or_default();
            IMAGES.iter().any(|known| last.eq_ignore_ascii_case(known))
        };
        let Some(image) = sample.iter().find(|member| ending(member, &is_image)) else { continue };
        let of_label = sample.iter().find(|member| ending(member, &|it| it == labels.ending));
        let label = match of_label {
            None => None,
            Some(member) => Some(label(archive, member, labels).context(format_args!(
                "{}: `{}`",
                archive.path.display(),
                member.name
            ))?),
        };
        found.push((image, label));
    }
    let mut different = Different::default();
    let mut index = Index::default();
    for (image, label) in &found {
        let label = label.as_deref().map_or(NO_LABEL, |label| different.place(label));
        index.keys.push(&[&image.name]);
        index.at.push(image.at);
        index.sizes.push(image.size);
        index.of.push(label);
    }
    index.labels = different.owned();
    Ok(index)
}

fn label(archive: &Archive, member: &Member, labels: &Labels) -> Result<String> {
    if member.size > MOST_LABEL {
        bail!("it has {} bytes, too many for a label", member.size);
    }
    let bytes = archive.read(member.at, member.size)?;
    let Ok(text) = std::str::from_utf8(&bytes) else { bail!("it is no text in UTF-8") };
    let Some(key) = &labels.key else {
        let label = text.trim();
        if label.is_empty() {
            bail!("it is empty");
        }
        return Ok(label.to_owned());
    };
    let object: serde_json::Value = serde_json::from_str(text)?;
    match object.get(key) {
        Some(serde_json::Value::String(label)) => Ok(label.clone()),
        Some(label) if label.is_u64() || label.is_boolean() => Ok(label.to_string()),
        Some(other) => bail!("`{key}` holds {other}, which is no class"),
        None => bail!("it has no key `{key}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::tests::member;

    fn labels(ending: &str, key: Option<&str>) -> Labels {
        Labels { ending: ending.into(), key: key.map(str::to_owned) }
    }

    #[test]
    fn files_of_one_name_are_a_sample_and_the_index_says_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let bytes = [
            member(b"d.1/n.jpg", b'0', b"image"),
            member(b"d.1/n.json", b'0', b"{\"class\": 7}"),
            member(b"d.1/m.left.PNG", b'0', b"other"),
            member(b"notes.txt", b'0', b"no image"),
        ];
        fs::write(&path, bytes.concat()).unwrap();
        let archive = Archive::open(&path).unwrap();
        let json = labels("json", Some("class"));
        let mut expected = Index {
            at: vec![512, 2560],
            sizes: vec![5, 5],
            of: vec![0, NO_LABEL],
            labels: vec!["7".into()],
            ..Index::default()
        };
        expected.keys.push(&["d.1/n.jpg"]);
        expected.keys.push(&["d.1/m.left.PNG"]);
        assert_eq!(of(&archive, &json).unwrap(), expected);
        let index = dir.path().join("a.tar.index");
        let written = fs::read(&index).unwrap();
        assert_eq!(of(&archive, &json).unwrap(), expected);
        // A damaged index, one of other labels and one of another archive are made anew.
        for cut in 0..written.len() {
            fs::write(&index, &written[..cut]).unwrap();
            assert_eq!(of(&archive, &json).unwrap(), expected, "{cut}");
            assert_eq!(fs::read(&index).unwrap(), written);
        }
        assert_eq!(of(&archive, &labels("cls", None)).unwrap().of[0], NO_LABEL);
        fs::write(&path, member(b"x.jpg", b'0', b"new")).unwrap();
        assert_eq!(of(&Archive::open(&path).unwrap(), &json).unwrap().keys.get(0), "x.jpg");
    }

    #[test]
    fn labels_that_are_none_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        for (content, key, part) in [
            (&b"\xff\xfe"[..], None, "no text in UTF-8"),
            (b" \n", None, "it is empty"),
            (b"{\"class\": 7}", Some("label"), "no key `label`"),
            (b"{\"label\": [1]}", Some("label"), "`label` holds [1]"),
            (b"{", Some("label"), "EOF"),
        ] {
            let bytes = [member(b"n.jpg", b'0', b"image"), member(b"n.cls", b'0', content)];
            fs::write(&path, bytes.concat()).unwrap();
            let archive = Archive::open(&path).unwrap();
            let error = of(&archive, &labels("cls", key)).unwrap_err();
            let text = error.message();
            assert!(text.contains("a.tar: `n.cls`") && text.contains(part), "{text}");
        }
    }
}
