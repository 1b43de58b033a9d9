//! Images of a folder per class, and the index beside the folder that saves listing it again.
//!
//! The index is a file with the folder's name and `.index`. It stores the time of the last change of each
//! folder. The system updates that time when a file is added, removed or renamed in the folder, so an index
//! with other times is not used. Folders with few images have no index.

use std::{
    fs::{self, FileType},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fluxbay_plugin::prelude::*;

use crate::{
    keys::{
        Keys, Labels, Number as _, keep_index, put_names, put_numbers, take_names, take_numbers,
    },
    listing::Listing,
};

/// Endings of files that are taken for images in a folder.
const ENDINGS: [&str; 9] = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "jfif"];
/// First bytes of an index; the last one is its version.
const MAGIC: &[u8; 8] = b"fbfolder";
const VERSION: u64 = 1;
/// Images from which on a folder has an index.
const LEAST: usize = if cfg!(test) { 2 } else { 10_000 };
/// A folder that changed within this time could change again without another time: file systems count in
/// steps, and clocks of servers differ. It has no index yet.
const SETTLED: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(2) };

/// Folders, with the nanoseconds since 1970 of their last changes.
type Changes = Vec<(String, u64)>;

/// A folder as it was listed.
#[derive(Debug, PartialEq)]
struct Listed {
    listing: Listing,
    /// Images outside of the folders of classes.
    beside: u64,
    /// Of all folders, by their paths within it.
    changes: Changes,
}

/// The images of a folder and its subfolders, sorted by path; the label of each is the name of the
/// folder's subfolder that it lies in.
///
/// # Errors
/// If a folder cannot be read, or there are no images.
pub fn of_folder(folder: &Path) -> Result<Listing> {
    let index = index_of(folder);
    let saved = index.as_ref().and_then(|path| saved(&fs::read(path).ok()?, folder));
    let Listed { listing, beside, .. } = match saved {
        Some(listed) => listed,
        None => {
            let began = since_1970(SystemTime::now());
            let listed = list(folder)?;
            if let Some(path) = index {
                keep(&listed, &path, began);
            }
            listed
        }
    };
    if listing.keys.len() == 0 && beside > 0 {
        bail!(
            "{}: it has {beside} images, but no folder of images for each class: make one folder per \
             class, or name a file of labels with `labels`",
            folder.display()
        );
    }
    if listing.keys.len() == 0 {
        bail!(
            "{}: it has no images in folders; files that end in {} are taken for images",
            folder.display(),
            ENDINGS.join(", ")
        );
    }
    if beside > 0 {
        log::warn!(
            "{}: {beside} images lie outside of the folders of classes and are not used",
            folder.display()
        );
    }
    Ok(listing)
}

/// The images of a folder and its subfolders, sorted by path.
///
/// # Errors
/// If a folder cannot be read, or there are no images.
pub fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut keys, mut changes) = (Keys::default(), Vec::new());
    walk(folder, ".", &mut keys, &mut changes)?;
    if keys.len() == 0 {
        bail!("{}: it has no images", folder.display());
    }
    Ok(keys.iter().map(|key| folder.join(key.trim_start_matches("./"))).collect())
}

/// Where the index of a folder is; none for a folder without a name of its own.
fn index_of(folder: &Path) -> Option<PathBuf> {
    let mut name = folder.file_name()?.to_owned();
    name.push(".index");
    Some(folder.with_file_name(name))
}

fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// When a folder was last changed. Programs cannot set this time, as they can that of its content.
fn changed(folder: &Path) -> std::io::Result<u64> {
    let data = fs::metadata(folder)?;
    let seconds = u64::try_from(data.ctime()).unwrap_or(0);
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(data.ctime_nsec() as u64))
}

/// Lists a folder.
fn list(folder: &Path) -> Result<Listed> {
    let mut changes = vec![(String::new(), changed(folder).context(folder.display())?)];
    let (mut keys, mut numbers, mut labels, mut beside) =
        (Keys::default(), Vec::new(), Vec::new(), 0);
    for (name, kind) in sorted(folder)? {
        let path = folder.join(&name);
        if !(kind.is_dir() || kind.is_symlink() && path.is_dir()) {
            beside += u64::from(is_image(&name));
            continue;
        }
        walk(&path, &name, &mut keys, &mut changes)?;
        if keys.len() > numbers.len() {
            numbers.resize(keys.len(), labels.len() as u32);
            labels.push(name);
        }
    }
    let listing = Listing { keys, labels, of: Labels::single(numbers) };
    Ok(Listed { listing, beside, changes })
}

fn walk(folder: &Path, prefix: &str, keys: &mut Keys, changes: &mut Changes) -> Result<()> {
    // Before its files: what changes meanwhile is noticed.
    changes.push((prefix.to_owned(), changed(folder).context(folder.display())?));
    for (name, kind) in sorted(folder)? {
        // A link to a folder could lead in a circle.
        if kind.is_dir() {
            walk(&folder.join(&name), &format!("{prefix}/{name}"), keys, changes)?;
        } else if is_image(&name) {
            keys.push(&[prefix, "/", &name]);
        }
    }
    Ok(())
}

/// Names in a folder, sorted; hidden ones are left out.
fn sorted(folder: &Path) -> Result<Vec<(String, FileType)>> {
    let read = || -> Result<Vec<(String, FileType)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|_| {
                let path = entry.path();
                Error::new(format!("the name of {} is not UTF-8: rename it", path.display()))
            })?;
            if !name.starts_with('.') {
                all.push((name, entry.file_type()?));
            }
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(all)
    };
    read().context(folder.display())
}

fn is_image(name: &str) -> bool {
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// Writes an index, if the folder is large and has not just changed.
fn keep(listed: &Listed, path: &Path, began: u64) {
    let settled =
        |(_, changed): &(String, u64)| changed.saturating_add(SETTLED.as_nanos() as u64) <= began;
    if listed.listing.keys.len() < LEAST || !listed.changes.iter().all(settled) {
        return;
    }
    keep_index(path, &bytes(listed));
}

fn bytes(listed: &Listed) -> Vec<u8> {
    let Listed { listing, beside, changes } = listed;
    let mut bytes = MAGIC.to_vec();
    let times: Vec<u64> = changes.iter().map(|(_, changed)| *changed).collect();
    VERSION.put(&mut bytes);
    beside.put(&mut bytes);
    put_numbers(&mut bytes, &times);
    put_names(&mut bytes, changes.iter().map(|(name, _)| name));
    put_names(&mut bytes, &listing.labels);
    put_numbers(&mut bytes, listing.of.numbers());
    listing.keys.put(&mut bytes);
    bytes
}

/// The content of an index; `None` if it is damaged, or the folder has changed.
fn saved(bytes: &[u8], folder: &Path) -> Option<Listed> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut number = || Some(u64::of(rest.split_off(..8)?));
    let (version, beside) = (number()?, number()?);
    if version != VERSION {
        return None;
    }
    let times: Vec<u64> = take_numbers(&mut rest)?;
    let folders = Keys::take(&mut rest)?;
    if folders.len() != times.len() {
        return None;
    }
    let mut changes = Vec::with_capacity(times.len());
    for (name, time) in folders.iter().zip(times) {
        if changed(&folder.join(name)).ok()? != time {
            return None;
        }
        changes.push((name.to_owned(), time));
    }
    let labels = take_names(&mut rest)?;
    let numbers: Vec<u32> = take_numbers(&mut rest)?;
    let keys = Keys::take(&mut rest)?;
    let known = numbers.iter().all(|number| (*number as usize) < labels.len());
    if !rest.is_empty() || numbers.len() != keys.len() || !known {
        return None;
    }
    let listing = Listing { keys, labels, of: Labels::single(numbers) };
    Some(Listed { listing, beside, changes })
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    fn make(dir: &Path, names: &[&str]) {
        for name in names {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
    }

    /// Keys with their labels.
    fn all(listing: &Listing) -> Vec<(&str, &str)> {
        let label = |at: usize| listing.labels[listing.of.get(at)[0] as usize].as_str();
        listing.keys.iter().enumerate().map(|(at, key)| (key, label(at))).collect()
    }

    #[test]
    fn a_folder_per_class_is_listed_in_the_order_of_paths() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("photos");
        make(
            &dir,
            &[
                "dog/b.JPG",
                "cat/x/1.png",
                "cat/a.jpeg",
                "cat/.hidden.png",
                "cat/notes.txt",
                "c.gif",
                "empty/none.txt",
            ],
        );
        let expected = [("cat/a.jpeg", "cat"), ("cat/x/1.png", "cat"), ("dog/b.JPG", "dog")];
        for _ in 0..2 {
            assert_eq!(all(&of_folder(&dir).unwrap()), expected);
        }
        let error = of_folder(&dir.join("cat/x")).unwrap_err();
        assert!(error.message().contains("1 images, but no folder"), "{error}");
        let error = of_folder(&dir.join("gone")).unwrap_err();
        assert!(error.message().contains("gone"), "{error}");
    }

    #[test]
    fn an_index_is_used_until_the_folder_changes() {
        // Longer than a step of the time in file systems.
        let step = Duration::from_millis(30);
        let dir = tempfile::tempdir().unwrap();
        let (folder, index) = (dir.path().join("photos"), dir.path().join("photos.index"));
        make(&folder, &["a/1.png", "a/deep/2.png", "b/3.png", "4.png"]);
        sleep(step);
        let first = of_folder(&folder).unwrap();
        let written = fs::read(&index).unwrap();
        assert_eq!(saved(&written, &folder), Some(list(&folder).unwrap()));
        // What is read is the index, not the folder.
        let other = String::from_utf8_lossy(&written).contains("a/1.png");
        assert!(other);
        let at = written.windows(7).position(|part| part == b"b/3.png").unwrap();
        let mut renamed = written.clone();
        renamed[at + 2] = b'7';
        fs::write(&index, &renamed).unwrap();
        let found = of_folder(&folder).unwrap();
        assert_eq!(all(&found)[2], ("b/7.png", "b"));
        fs::write(&index, &written).unwrap();
        let changes: [(&str, &dyn Fn()); 4] = [
            ("a new file deep inside", &|| make(&folder, &["a/deep/5.png"])),
            ("a file that is gone", &|| fs::remove_file(folder.join("b/3.png")).unwrap()),
            ("another name", &|| {
                fs::rename(folder.join("a/1.png"), folder.join("a/9.png")).unwrap();
            }),
            ("a new class", &|| make(&folder, &["c/1.png"])),
        ];
        let mut last = first;
        for (what, change) in changes {
            sleep(step);
            change();
            let found = of_folder(&folder).unwrap();
            assert!(found != last && found == list(&folder).unwrap().listing, "{what}");
            sleep(step);
            assert_eq!(of_folder(&folder).unwrap(), found, "{what}");
            last = found;
        }
    }

    #[test]
    fn a_damaged_index_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, index) = (dir.path().join("photos"), dir.path().join("photos.index"));
        make(&folder, &["a/1.png", "b/2.png"]);
        sleep(Duration::from_millis(30));
        let expected = of_folder(&folder).unwrap();
        let written = fs::read(&index).unwrap();
        for cut in [0, 7, 8, 20, written.len() - 1] {
            fs::write(&index, &written[..cut]).unwrap();
            assert_eq!(of_folder(&folder).unwrap(), expected);
            assert_eq!(fs::read(&index).unwrap(), written);
        }
        fs::write(&index, [&written[..], b"x"].concat()).unwrap();
        assert_eq!(of_folder(&folder).unwrap(), expected);
    }

    #[test]
    fn a_folder_that_has_just_changed_has_no_index() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, index) = (dir.path().join("photos"), dir.path().join("photos.index"));
        make(&folder, &["a/1.png", "b/2.png"]);
        let listed = list(&folder).unwrap();
        let last = listed.changes.iter().map(|(_, changed)| *changed).max().unwrap();
        keep(&listed, &index, last - 1);
        assert!(!index.exists());
        keep(&listed, &index, last + SETTLED.as_nanos() as u64);
        assert!(index.exists());
    }
}
