//! A folder with a folder of images for each class.

use std::fs;
use std::path::Path;

use super::written::{Component, Guess};
use super::{Found, Look};

/// Ends of the names of images.
const IMAGES: [&str; 8] = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"];

fn has_extension(path: &Path, of: &[&str]) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    of.contains(&extension.as_str())
}

fn entries(folder: &Path) -> Result<Vec<std::path::PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Ok(paths)
}

/// The folders with images in `folder`, by name and number of images.
fn classes(folder: &Path) -> Result<Vec<(String, usize)>, String> {
    let mut classes = Vec::new();
    for path in entries(folder)?.iter().filter(|path| path.is_dir()) {
        let images = entries(path)?.iter().filter(|path| has_extension(path, &IMAGES)).count();
        if images > 0 {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            classes.push((name, images));
        }
    }
    Ok(classes)
}

/// Height and width that a PNG or JPEG file says it has.
fn size(bytes: &[u8]) -> Option<(usize, usize)> {
    if let Some(header) = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n").and_then(|rest| rest.get(8..16))
    {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all << 8 | usize::from(*byte));
        return Some((number(&header[4..]), number(&header[..4])));
    }
    let mut rest = bytes.strip_prefix(b"\xff\xd8")?;
    loop {
        let (marker, length) = match *rest {
            [0xff, 0xff, ..] => {
                rest = &rest[1..];
                continue;
            }
            [0xff, marker, high, low, ..] => (marker, usize::from(high) << 8 | usize::from(low)),
            _ => return None,
        };
        // Starts of frames, without the tables that have numbers between them.
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            let [_, a, b, c, d] = *rest.get(4..9)? else { return None };
            return Some((
                usize::from(a) << 8 | usize::from(b),
                usize::from(c) << 8 | usize::from(d),
            ));
        }
        rest = rest.get(2 + length..)?;
    }
}

/// The usual size of the first images: the median of their larger sides.
fn usual_size(folder: &Path, classes: &[(String, usize)]) -> Option<usize> {
    let mut sides = Vec::new();
    for (class, _) in classes.iter().take(10) {
        let paths = entries(&folder.join(class)).unwrap_or_default();
        for path in paths.iter().filter(|path| has_extension(path, &IMAGES)).take(5) {
            let bytes = fs::read(path).unwrap_or_default();
            sides.extend(size(&bytes).map(|(height, width)| height.max(width)));
        }
    }
    sides.sort_unstable();
    sides.get(sides.len() / 2).copied()
}

pub fn guess(look: &Look<'_>) -> Found {
    if look.target.is_some() {
        return Err("the class of an image is its folder: leave out --target".into());
    }
    // Folders for training and validation, each with the classes in it.
    let parts = [
        ("train", "val"),
        ("train", "valid"),
        ("train", "validation"),
        ("train", "test"),
        ("training", "validation"),
    ];
    let part = parts.into_iter().find(|(training, validation)| {
        let has =
            |name: &str| classes(&look.data.join(name)).is_ok_and(|classes| classes.len() > 1);
        has(training) && has(validation)
    });
    let folder = match part {
        Some((training, _)) => look.data.join(training),
        None => look.data.to_owned(),
    };
    let classes = classes(&folder)?;
    if classes.len() < 2 {
        return Err(format!(
            "{} folders with images were found: a folder of images needs one for each class, at least two",
            classes.len()
        ));
    }
    let count: usize = classes.iter().map(|(_, images)| images).sum();
    let side = usual_size(&folder, &classes);
    // Larger ones take long without a graphics processor.
    let chosen = side.unwrap_or(64).clamp(16, 64).next_multiple_of(4);
    let mut guess = Guess {
        component: "images",
        path_key: "folder",
        samples: count,
        rate: 1e-3,
        summary: format!("{count} images in {} classes", classes.len()),
        ..Guess::default()
    };
    if let Some((training, validation)) = part {
        guess.folders = Some((training.into(), validation.into()));
        guess.validation = true;
    }
    let comment = match side {
        Some(side) => format!("height and width; the images have about {side}"),
        None => "height and width".into(),
    };
    guess.set("size", &format!("[{chosen}, {chosen}]"), &comment);
    guess.set("on-bad-sample", "\"skip\"", "or \"stop\" at an image that cannot be read");
    guess.model = Some(Component::new("cnn", "small; a pretrained model needs fewer images").set(
        "channels",
        "[16, 32, 64]",
        "",
    ));
    Ok(guess)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_found_in_headers() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\0\0\0\0\x80\x08";
        assert_eq!(size(png), Some((128, 256)));
        let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc2\0\x0b\x08\0\x20\x01\x02\x01";
        assert_eq!(size(jpeg), Some((32, 258)));
        for cut in 0..jpeg.len() - 3 {
            assert_eq!(size(&jpeg[..cut]), None);
        }
        assert_eq!(size(b"GIF89a"), None);
    }
}
