//! Cost of a checkpoint, written and synced, compared with writing and syncing the same bytes to
//! the same disk; and the time that training waits for it, compared with copying the tensors.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    hint::black_box,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use fluxbay::record::{
    checkpoint::{CheckpointData, CheckpointInfo, Content, Retentions, write},
    tensors,
};
use fluxbay::session::{Device, Session, Tensor, checkpoint::to_files};

#[path = "../behaviours/run.rs"]
#[allow(dead_code)]
mod run;

/// Rounds of each measurement; the median counts.
const ROUNDS: usize = 15;
const MEBIBYTE: usize = 1 << 20;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn time(f: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    f();
    begin.elapsed()
}

fn raw(folder: &Path, bytes: &[u8]) {
    let path = folder.join("raw");
    let mut file = File::create(&path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
    drop(file);
    File::open(folder).unwrap().sync_all().unwrap();
    fs::remove_file(path).unwrap();
}

/// A checkpoint of `size` bytes: one third parameters, two thirds optimizer moments.
fn checkpoint(size: usize) -> CheckpointData {
    let tensor = |seed: usize| {
        let values: Vec<f32> = (0..size / 24 / 4)
            .map(|index| ((index * 2_654_435_761 + seed) % 1_000_003) as f32)
            .collect();
        Tensor::from_vec(values, size / 24 / 4, &Device::Cpu).unwrap()
    };
    let of = |what: &str, count: usize| -> Content {
        let named: Vec<(String, Tensor)> =
            (0..count).map(|number| (format!("{what}.{number}"), tensor(number))).collect();
        Content::Tensors(tensors::prepare(&named).unwrap())
    };
    let small = |bytes: usize| Content::Bytes(vec![b'x'; bytes]);
    let files = [
        ("model.safetensors", of("model", 8)),
        ("optimizer.safetensors", of("moment", 16)),
        ("learner.json", small(4000)),
    ];
    let more = [
        ("instances.bin", small(2000)),
        ("record.json", small(100)),
        ("resolved.toml", small(3000)),
        ("plugins.lock", small(2000)),
    ];
    let about = CheckpointInfo {
        sequence: 1,
        epochs: 1,
        phase: String::new(),
        step: 0,
        reason: "benchmark".to_owned(),
        asked_by: vec!["run".to_owned()],
        metrics: BTreeMap::new(),
    };
    CheckpointData {
        about,
        files: files
            .into_iter()
            .chain(more)
            .map(|(name, content)| (name.to_owned(), content))
            .collect(),
    }
}

fn saving(size: usize) {
    let folder = tempfile::Builder::new()
        .prefix("fluxbay-saving-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap();
    let data = checkpoint(size);
    let bytes: Vec<u8> =
        data.files.values().flat_map(|content| content.bytes().into_owned()).collect();
    let (mut raws, mut saves) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // Alternate, so that other disk activity affects both.
        raws.push(time(|| raw(folder.path(), &bytes)));
        let mut path = None;
        saves.push(time(|| path = Some(write(folder.path(), &data, &Retentions::new()).unwrap())));
        fs::remove_dir_all(path.unwrap()).unwrap();
    }
    let (raw, save) = (median(raws), median(saves));
    println!(
        "save of {:4} MiB: raw write and sync {:8.1} ms, checkpoint {:8.1} ms, {:+.1} %",
        bytes.len() / MEBIBYTE,
        raw.as_secs_f64() * 1e3,
        save.as_secs_f64() * 1e3,
        (save.as_secs_f64() / raw.as_secs_f64() - 1.0) * 100.0
    );
}

fn waiting() {
    let session: Session = run::session(
        "[model]\ncomponent = \"mlp\"\nhidden = [1500, 1500, 1500]\n[optimizer]\ncomponent = \"adamw\"\n[[phase]]\ncomponent = \"training\"\n\
         [[callback]]\ncomponent = \"recorder\"\n[[callback]]\ncomponent = \"metrics\"\n",
    );
    let (mut copies, mut snapshots, mut encodings) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let snapshot = session.runtime().snapshot().unwrap();
        let all: Vec<&Tensor> = snapshot
            .parameters
            .iter()
            .chain(&snapshot.optimizer_states)
            .map(|(_, tensor)| tensor)
            .collect();
        copies.push(time(|| {
            let copied: Vec<Tensor> = all.iter().map(|tensor| tensor.copy().unwrap()).collect();
            black_box(copied);
        }));
        snapshots.push(time(|| drop(black_box(session.runtime().snapshot().unwrap()))));
        encodings.push(time(|| drop(black_box(to_files(&snapshot).unwrap()))));
    }
    let snapshot = session.runtime().snapshot().unwrap();
    let bytes: usize = snapshot
        .parameters
        .iter()
        .chain(&snapshot.optimizer_states)
        .map(|(_, tensor)| tensor.elem_count() * 4)
        .sum();
    println!(
        "training waits for a checkpoint of {} MiB: copying parameters and moments {:.2} ms, everything {:.2} ms; putting the files together, \
         beside the training, {:.2} ms",
        bytes / MEBIBYTE,
        median(copies).as_secs_f64() * 1e3,
        median(snapshots).as_secs_f64() * 1e3,
        median(encodings).as_secs_f64() * 1e3,
    );
}

fn main() {
    // `cargo bench --bench saving -- disk` skips the part that needs plugins.
    if !std::env::args().any(|argument| argument == "disk") {
        waiting();
    }
    for size in [1, 16, 64, 256] {
        saving(size * MEBIBYTE);
    }
}
