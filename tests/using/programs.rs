//! A trained model in a program: the example with candle gives the outputs of `predict`.

use std::{fs, process::Command};

use fluxbay_tests::{binary, fluxbay, plugin_dir, scratch, succeed, write};

use crate::rows;

/// An IDX file of bytes.
fn idx(shape: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|size| file.extend(size.to_be_bytes()));
    file.extend(bytes);
    file
}

#[test]
fn a_candle_model_with_a_trained_layer_gives_the_outputs_of_predict() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let pixels: Vec<u8> = (0..40_u32 * 9).map(|at| (at * 37 % 251) as u8).collect();
    let labels: Vec<u8> = (0..40).map(|at| at % 3).collect();
    fs::write(dir.path().join("images"), idx(&[40, 3, 3], &pixels)).unwrap();
    fs::write(dir.path().join("labels"), idx(&[40], &labels)).unwrap();
    fs::write(dir.path().join("new"), idx(&[5, 3, 3], &pixels[9..54])).unwrap();
    write(
        dir.path(),
        "run.toml",
        "[run]\nepochs = 1\n[data]\ncomponent = \"idx\"\nimages = \"images\"\nlabels = \"labels\"\n[loader]\nvalidation = 0.2\n[model]\ncomponent = \"cnn\"\nchannels = [4]\nkernel = 2\nhidden = [8]\n[loss]\ncomponent = \"cross-entropy\"\n[optimizer]\ncomponent = \"adamw\"\n",
    );
    let command = |arguments: &[&str]| {
        let mut command = fluxbay(dir.path(), plugins.path());
        command.args(arguments);
        command
    };
    succeed(&mut command(&["train", "run.toml", "--run-dir", "run", "-q"]));
    let table = rows(&succeed(&mut command(&["predict", "run", "new", "--raw"])).stdout);
    assert_eq!(table[0].join(","), "key,value-0,value-1,value-2");
    assert_eq!(table.len(), 6);
    // Two files of images: the key names the file.
    let both = rows(&succeed(&mut command(&["predict", "run", "new", "images"])).stdout);
    assert_eq!((both.len(), both[6][0].as_str()), (46, "images:0"));
    let lines: Vec<String> = pixels[9..54]
        .chunks(9)
        .map(|image| {
            let values: Vec<String> =
                image.iter().map(|pixel| (f32::from(*pixel) * (1.0 / 255.0)).to_string()).collect();
            values.join(" ")
        })
        .collect();
    write(dir.path(), "samples.txt", &lines.join("\n"));
    let mut example = Command::new(binary().with_file_name("candle-layer"));
    example
        .current_dir(dir.path())
        .env("HOME", dir.path())
        .env("FLUXBAY_PLUGIN_PATH", plugins.path())
        .args(["run/bundle", "samples.txt"]);
    let printed = succeed(&mut example).stdout;
    assert_eq!(printed.lines().count(), 5, "{printed}");
    for (line, row) in printed.lines().zip(&table[1..]) {
        let logits = line.split_once(']').unwrap().0.trim_start_matches('[');
        let logits: Vec<f32> = logits.split(", ").map(|value| value.parse().unwrap()).collect();
        let expected: Vec<f32> = row[1..].iter().map(|value| value.parse().unwrap()).collect();
        assert_eq!(logits, expected, "to the bit");
    }
}
