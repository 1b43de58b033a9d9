//! The bits of batches: the same with any number of loader threads and any read-ahead, after kills, and from
//! a folder, an archive or a packed file; and damaged files of all formats. The bits of models on any number of
//! threads.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use fluxbay_tests::{Finished, fluxbay, plugin_dir, repository, run, scratch, succeed, write};
use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use tempfile::TempDir;

struct Place {
    dir: TempDir,
    plugins: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { dir: scratch(), plugins: plugin_dir() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = fluxbay(self.dir.path(), self.plugins.path());
        command.args(arguments);
        command
    }

    /// What `fluxbay data hash` prints.
    fn hash(&self, run_file: &str, set: &[&str]) -> String {
        let mut command = self.command(&["data", "hash", run_file, "--epochs", "2"]);
        command.args(set.iter().flat_map(|setting| ["--set", setting]));
        let found = succeed(&mut command).stdout;
        assert!(found.contains("each once in an epoch") && !found.contains("not each"), "{found}");
        found
    }
}

/// Random numbers of a seed (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// A number of repetitions: a few in each test run, more where the variable says so.
fn repetitions(variable: &str, few: usize) -> usize {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(few)
}

fn jpeg(number: u64) -> Vec<u8> {
    let mut numbers = Numbers(number);
    let pixels: Vec<u8> = (0..20 * 24 * 3).map(|_| numbers.next() as u8).collect();
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 90)
        .encode(&pixels, 20, 24, ExtendedColorType::Rgb8)
        .unwrap();
    bytes
}

/// A file in a tar archive.
fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend_from_slice(content);
    block.resize(block.len().div_ceil(512) * 512, 0);
    block
}

/// Images in folders by class, and in archives: the same files in the same order.
fn write_images(place: &Place, count: u64) {
    let mut files = Vec::new();
    for number in 0..count {
        let class = ["cat", "dog", "eel"][number as usize % 3];
        files.push((format!("{class}/{number:03}.jpg"), class, jpeg(number)));
    }
    files.sort();
    for (name, _, bytes) in &files {
        let path = place.path("photos").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    for (number, files) in files.chunks(files.len().div_ceil(2)).enumerate() {
        let members = files.iter().flat_map(|(name, class, bytes)| {
            let label = name.replace(".jpg", ".cls");
            [member(name, bytes), member(&label, class.as_bytes())].concat()
        });
        let bytes: Vec<u8> = members.chain([0; 1024]).collect();
        fs::write(place.path(&format!("photos-{number}.tar")), bytes).unwrap();
    }
}

/// A run on images with transforms that draw, and everything behind the section of the data.
fn images(data: &str) -> String {
    format!(
        "[run]\nepochs = 2\nthreads = 1\nseed = 7\n[data]\n{data}\n[loader]\nbatch-size = 6\n\
         [[transform]]\ncomponent = \"random-resized-crop\"\nsize = [12, 12]\n[[transform]]\ncomponent = \"center-crop\"\n\
         size = [12, 12]\nwhen = \"evaluation\"\n[[transform]]\ncomponent = \"flip\"\n\
         [[transform]]\ncomponent = \"rand-augment\"\n[[transform]]\ncomponent = \"normalize\"\nvalues = \"half\"\n\
         [model]\ncomponent = \"cnn\"\n[loss]\ncomponent = \"cross-entropy\"\n[optimizer]\ncomponent = \"adamw\"\n"
    )
}

/// Both kinds of convolution, batch normalisation and pooling.
const CONVOLUTIONS: &str = "[data]\ncomponent = \"digits\"\n[loader]\nbatch-size = 96\nlimit-batches = 3\n[model]\n\
     component = \"sequential\"\nlayers = [{ type = \"reshape\", shape = [1, 8, 8] }, { type = \"conv2d\", out = 32, padding = 1 }, \
     { type = \"batch-norm\" }, { type = \"activation\" }, { type = \"conv2d\", out = 32, padding = 1 }, { type = \"batch-norm\" }, \
     { type = \"max-pool2d\" }, { type = \"dropout\" }, { type = \"flatten\" }, { type = \"linear\", out = 200 }, \
     { type = \"layer-norm\" }, { type = \"linear\", out = 10 }]\n";

/// Attention, embeddings, and products whose sums are long.
const ATTENTION: &str = "[data]\ncomponent = \"text\"\npath = \"text.txt\"\ncontext = 64\n[loader]\nbatch-size = 24\n\
     limit-batches = 3\n[model]\ncomponent = \"gpt\"\nlayers = 2\nwidth = 96\nheads = 3\ndropout = 0.1\n";

#[test]
fn convolutions_normalisation_and_attention_train_to_the_same_bits_on_any_number_of_threads() {
    let place = Place::new();
    let text = "it was the best of times, it was the worst of times, it was the age of wisdom.\n";
    write(place.dir.path(), "text.txt", &text.repeat(200));
    for (name, model) in [("convolutions", CONVOLUTIONS), ("attention", ATTENTION)] {
        let rest = "[loss]\ncomponent = \"cross-entropy\"\n[optimizer]\ncomponent = \"adamw\"\n";
        let run_file = format!("{name}.toml");
        write(place.dir.path(), &run_file, &format!("[run]\nepochs = 2\nseed = 3\n{model}{rest}"));
        let train = |threads: &str| {
            let out = format!("{name}-on-{threads}");
            succeed(&mut place.command(&[
                "train",
                &run_file,
                "--threads",
                threads,
                "--run-dir",
                &out,
            ]));
            fs::read(place.path(&out).join("model.safetensors")).unwrap()
        };
        let one = train("1");
        for threads in ["2", "3"] {
            assert!(train(threads) == one, "{name} on {threads} threads");
        }
    }
}

/// Threads and batches ahead.
const LOADERS: [[&str; 2]; 4] = [
    ["loader.threads=1", "loader.prefetch=0"],
    ["loader.threads=1", "loader.prefetch=1"],
    ["loader.threads=2", "loader.prefetch=3"],
    ["loader.threads=8", "loader.prefetch=16"],
];

#[test]
fn augmented_images_are_the_same_from_folders_archives_and_a_pack_on_any_threads() {
    let place = Place::new();
    write_images(&place, 45);
    let form = "size = [16, 16]\nvalues = \"bytes\"";
    let folder = format!("component = \"images\"\nfolder = \"photos\"\n{form}");
    write(place.dir.path(), "folder.toml", &images(&folder));
    let archives = format!("component = \"shards\"\npath = \"photos-{{0..1}}.tar\"\n{form}");
    write(place.dir.path(), "archives.toml", &images(&archives));
    let packed = "component = \"packed\"\npath = \"photos.pack\"";
    write(place.dir.path(), "packed.toml", &images(packed));
    let said =
        succeed(&mut place.command(&["data", "pack", "folder.toml", "--output", "photos.pack"]));
    assert!(said.stdout.contains("all: 45 samples"), "{}", said.stdout);
    let again =
        run(&mut place.command(&["data", "pack", "folder.toml", "--output", "photos.pack"]));
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("--force"), "{}", again.stderr);

    let expected = place.hash("folder.toml", &LOADERS[0]);
    for loader in &LOADERS[1..] {
        assert_eq!(place.hash("folder.toml", loader), expected, "{loader:?}");
    }
    assert_eq!(place.hash("archives.toml", &LOADERS[2]), expected);
    assert!(place.path("photos-0.tar.index").exists());
    assert_eq!(place.hash("archives.toml", &LOADERS[3]), expected, "with the index");
    for loader in [&LOADERS[0], &LOADERS[3]] {
        assert_eq!(place.hash("packed.toml", loader), expected, "{loader:?}");
    }
    assert_ne!(place.hash("folder.toml", &["run.seed=8"]), expected);

    // What was packed is evaluated and predicted from, too.
    succeed(&mut place.command(&["train", "packed.toml", "--run-dir", "out"]));
    let predicted = succeed(&mut place.command(&["predict", "out", "photos.pack"])).stdout;
    assert_eq!(predicted.lines().count(), 46, "{predicted}");
    assert!(predicted.contains("cat/000.jpg") && predicted.contains("dog"), "{predicted}");
}

#[test]
fn tokenised_texts_in_packs_and_buckets_are_the_same_on_any_threads_and_from_a_file() {
    let place = Place::new();
    fs::copy(repository().join("docs/examples/runs/reviews.jsonl"), place.path("reviews.jsonl"))
        .unwrap();
    let rest = "[model]\ncomponent = \"gpt\"\nlayers = 1\nwidth = 16\nheads = 2\n[loss]\ncomponent = \"cross-entropy\"\n\
                ignore-index = 0\n[optimizer]\ncomponent = \"adamw\"\n";
    let texts = format!(
        "[run]\nthreads = 1\n[data]\ncomponent = \"jsonl\"\npath = \"reviews.jsonl\"\nvocabulary = 400\nlength = 32\n\
         task = \"language-model\"\npadding = \"longest\"\n[loader]\nbatch-size = 4\n{rest}"
    );
    write(place.dir.path(), "texts.toml", &texts);
    let packed = format!(
        "[run]\nthreads = 1\n[data]\ncomponent = \"packed\"\npath = \"texts.pack\"\n[loader]\nbatch-size = 4\n{rest}"
    );
    write(place.dir.path(), "packed.toml", &packed);
    succeed(&mut place.command(&["data", "pack", "texts.toml", "--output", "texts.pack"]));
    for rule in ["pad", "bucket", "pack"] {
        let rule = format!("loader.ragged=\"{rule}\"");
        let with = |loader: &[&'static str; 2]| [rule.as_str(), loader[0], loader[1]];
        let expected = place.hash("texts.toml", &with(&LOADERS[0]));
        for loader in &LOADERS[2..] {
            assert_eq!(place.hash("texts.toml", &with(loader)), expected, "{rule} {loader:?}");
        }
        assert_eq!(place.hash("packed.toml", &with(&LOADERS[2])), expected, "{rule}");
    }
}

#[test]
fn a_run_on_augmented_images_is_killed_at_random_moments_and_ends_the_same() {
    let place = Place::new();
    write_images(&place, 45);
    let data = "component = \"images\"\nfolder = \"photos\"\nsize = [16, 16]\nvalues = \"bytes\"";
    let run_file = format!("{}[checkpoints]\nevery-steps = 2\n", images(data));
    write(place.dir.path(), "run.toml", &run_file);
    let epochs = ["--set", "run.epochs=4"];
    succeed(place.command(&["train", "run.toml", "--run-dir", "whole"]).args(epochs));
    let mut numbers = Numbers(3);
    let start = |arguments: &[&str]| {
        place.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let kills = repetitions("FLUXBAY_TEST_KILLS", 3);
    for number in 0..kills {
        let mut child = match number {
            0 => start(&[&["train", "run.toml", "--run-dir", "killed"], &epochs[..]].concat()),
            _ => {
                let loader = LOADERS[numbers.below(LOADERS.len())];
                start(&[
                    "resume",
                    "killed",
                    "--allow-other-settings",
                    "--set",
                    loader[0],
                    "--set",
                    loader[1],
                ])
            }
        };
        // Until the first checkpoint is there, and a random time longer.
        let checkpoints = place.path("killed/checkpoints");
        for _ in 0..3000 {
            let is_there = fs::read_dir(&checkpoints).is_ok_and(|mut all| all.next().is_some());
            if is_there || child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(numbers.below(400) as u64));
        // The process of the plugins ends with it.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    succeed(&mut place.command(&["resume", "killed", "--allow-other-settings"]));
    let model = |run: &str| fs::read(place.path(run).join("model.safetensors")).unwrap();
    assert!(model("whole") == model("killed"), "the parameters differ");
}

/// What a run needs besides its data.
const REST: &str = "[loader]\nprefetch = 0\nvalidation = 0\n[model]\ncomponent = \"mlp\"\n[loss]\ncomponent = \"cross-entropy\"\n\
                    [optimizer]\ncomponent = \"adamw\"\n";

/// Changes some bytes of a file, or cuts it.
fn damage(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    match numbers.below(3) {
        0 => bytes.truncate(numbers.below(bytes.len())),
        1 => {
            for _ in 0..=numbers.below(12) {
                let at = numbers.below(bytes.len());
                bytes[at] = numbers.next() as u8;
            }
        }
        _ => {
            let at = numbers.below(bytes.len());
            let end = bytes.len().min(at + 1 + numbers.below(64));
            bytes[at..end].fill(numbers.next() as u8);
        }
    }
}

/// A `.npy` file of 12 samples of two numbers.
fn npy() -> Vec<u8> {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (12, 2)}\n";
    let elements = (0..24).flat_map(|number| (number as f32).to_le_bytes());
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0", &length[..], header.as_bytes()]
        .concat()
        .into_iter()
        .chain(elements)
        .collect()
}

/// A WAV file of 800 samples of 16 bits.
fn wav() -> Vec<u8> {
    let samples: Vec<u8> = (0..800_i16).flat_map(|at| (at * 40).to_le_bytes()).collect();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + samples.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    for number in [16_u32, 0x0001_0001, 8000, 16000, 0x0010_0002] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(b"data");
    bytes.extend((samples.len() as u32).to_le_bytes());
    [bytes, samples].concat()
}

#[test]
fn damaged_files_of_all_formats_are_named_and_none_ends_the_host() {
    let place = Place::new();
    let dir = place.dir.path();
    write_images(&place, 12);
    let reviews = fs::read(repository().join("docs/examples/runs/reviews.jsonl")).unwrap();
    fs::write(place.path("reviews.jsonl"), &reviews[..2000]).unwrap();
    let pack = "[data]\ncomponent = \"images\"\nfolder = \"photos\"\nsize = [4, 4]\n";
    write(dir, "pack.toml", &format!("{pack}{REST}"));
    succeed(&mut place.command(&["data", "pack", "pack.toml", "--output", "some.pack"]));
    let rows = |name: &str| fs::read(repository().join(name)).unwrap();
    let formats: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "photos/cat/000.jpg",
            jpeg(0),
            "component = \"images\"\nfolder = \"photos\"\nsize = [4, 4]",
        ),
        (
            "photos-0.tar",
            fs::read(place.path("photos-0.tar")).unwrap(),
            "component = \"shards\"\npath = \"photos-0.tar\"\nsize = [4, 4]",
        ),
        (
            "some.pack",
            fs::read(place.path("some.pack")).unwrap(),
            "component = \"packed\"\npath = \"some.pack\"",
        ),
        (
            "rows.csv",
            rows("docs/examples/runs/penguins.csv"),
            "component = \"csv\"\npath = \"rows.csv\"\ntarget = \"species\"\nmissing = \"fill\"",
        ),
        (
            "rows.parquet",
            rows("plugins/parquet/tests/penguins.parquet"),
            "component = \"parquet\"\npath = \"rows.parquet\"\ntarget = \"species\"\nmissing = \"fill\"",
        ),
        (
            "rows.jsonl",
            reviews[..1500].to_vec(),
            "component = \"jsonl\"\npath = \"rows.jsonl\"\nvocabulary = 300",
        ),
        ("x.npy", npy(), "component = \"arrays\"\npath = \"x.npy\"\ntargets = \"y.npy\""),
        ("sounds/a/1.wav", wav(), "component = \"audio\"\nfolder = \"sounds\""),
    ];
    fs::write(place.path("y.npy"), npy()).unwrap();
    for class in ["a", "b"] {
        fs::create_dir_all(place.path("sounds").join(class)).unwrap();
        fs::write(place.path("sounds").join(class).join("0.wav"), wav()).unwrap();
    }
    let mut numbers = Numbers(11);
    let (mut refused, mut problems) = (0, String::new());
    for round in 0..repetitions("FLUXBAY_TEST_DAMAGED", 24) {
        let (name, whole, data) = &formats[round % formats.len()];
        let mut bytes = whole.clone();
        damage(&mut bytes, &mut numbers);
        fs::write(place.path(name), &bytes).unwrap();
        let _ = fs::remove_file(place.path("photos-0.tar.index"));
        write(dir, "run.toml", &format!("[data]\n{data}\n{REST}"));
        let found = limited(&place, dir, &["data", "inspect", "run.toml"]);
        let file = Path::new(name).file_name().unwrap().to_str().unwrap();
        match found.code {
            // Some damage only changes values.
            Some(0) => {}
            Some(1 | 2) if found.stderr.contains(file) => refused += 1,
            _ => {
                let kept = std::env::temp_dir().join(format!("fluxbay-damaged-{round}-{file}"));
                fs::write(&kept, &bytes).unwrap();
                problems += &format!("{}: {:?}\n{}\n", kept.display(), found.code, found.stderr);
            }
        }
        fs::write(place.path(name), whole).unwrap();
    }
    assert!(problems.is_empty(), "{problems}");
    assert!(refused > 0);
}

/// Runs the program with 6 GiB of addresses at most, so that no header makes it ask for more.
fn limited(place: &Place, dir: &Path, arguments: &[&str]) -> Finished {
    let inner = place.command(arguments);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 6291456; exec \"$0\" \"$@\""]);
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(dir).env_clear();
    command.envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
    run(&mut command)
}
