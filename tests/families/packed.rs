//! Samples that share a row give the predictions and gradients that they give alone.

use fluxbay::learner::ports::DataBatch;
use fluxbay::session::{Device, Session, Tensor};
use fluxbay_tests::scratch;

use crate::{elements, open};

const VOCABULARY: usize = 23;

/// Ids of three samples; none is that of padding, 0.
const SAMPLES: [&[u32]; 3] = [&[3, 9, 4, 11], &[7, 2, 20], &[5, 5, 12, 1, 8]];

fn ids(rows: &[&[u32]]) -> Tensor {
    let all = rows.concat();
    Tensor::from_vec(all, (rows.len(), rows[0].len()), &Device::Cpu).unwrap()
}

fn run_file(model: &str, more: &str) -> String {
    format!(
        "[run]\nthreads = 1\ndefault-callbacks = false\n{more}[data]\ncomponent = \"shapes\"\ninputs = [7]\n\
         vocabulary = {VOCABULARY}\nclasses = {VOCABULARY}\ntargets = [7]\npacked = true\n[loader]\n\
         batch-size = 2\n[loss]\ncomponent = \"cross-entropy\"\nignore-index = 0\n[optimizer]\n\
         component = \"sgd\"\nlearning-rate = 0.1\n[model]\n{model}"
    )
}

/// The predictions of a batch, and the sum of the losses of its targets.
fn predictions(session: &Session, phase: usize, fields: Vec<Tensor>) -> (Vec<f64>, f64) {
    let samples = fields[0].dims()[0];
    let targets = elements(&fields[1]).iter().filter(|target| **target != 0.0).count() as f64;
    session.run_step(phase, DataBatch { fields, samples, index: 0 }).unwrap();
    let loss = session.number("step.loss").unwrap() * targets;
    (elements(&session.tensor("step.yhats").unwrap()), loss)
}

#[test]
fn samples_that_share_a_row_do_not_see_each_other() {
    let [a, b, c] = SAMPLES;
    let rows = ids(&[&[a, b].concat(), &[c, &[0, 0]].concat()]);
    let segments = ids(&[&[1, 1, 1, 1, 2, 2, 2], &[1, 1, 1, 1, 1, 0, 0]]);
    let positions = ids(&[&[0, 1, 2, 3, 0, 1, 2], &[0, 1, 2, 3, 4, 0, 0]]);
    let bert = "layers = 2\nwidth = 16\nheads = 2\nfeed-forward = 32\ndropout = 0.0\n";
    let models = [
        "component = \"gpt\"\nlayers = 2\nwidth = 16\nheads = 2\n".to_owned(),
        "component = \"gpt2\"\nlayers = 2\nwidth = 16\nheads = 2\ndropout = 0.0\n".to_owned(),
        "component = \"llama\"\nlayers = 2\nwidth = 16\nheads = 2\ngroups = 1\nfeed-forward = 32\n"
            .to_owned(),
        format!("component = \"bert\"\nhead = \"tokens\"\n{bert}"),
        format!("component = \"bert\"\nhead = \"tokens\"\npadding = 0\n{bert}"),
        "component = \"modern-bert\"\nhead = \"tokens\"\nlayers = 2\nwidth = 16\nheads = 2\nfeed-forward = 32\n"
            .to_owned(),
    ];
    for model in &models {
        for more in ["", "gradient-blocks = 2\n"] {
            let dir = scratch();
            let (session, _) = open(dir.path(), &run_file(model, more))
                .unwrap_or_else(|problems| panic!("{model}: {problems}"));
            let alone: Vec<(Vec<f64>, f64)> = SAMPLES
                .iter()
                .map(|sample| predictions(&session, 1, vec![ids(&[sample]), ids(&[sample])]))
                .collect();
            // Without segments, the second sample of a row is different.
            let (mixed, _) = predictions(&session, 1, vec![rows.clone(), rows.clone()]);
            let whole = vec![rows.clone(), rows.clone(), segments.clone(), positions.clone()];
            let (packed, loss) = predictions(&session, 1, whole.clone());
            let far = |found: &[f64], expected: &[f64]| {
                let each = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
                each.fold(0.0, f64::max)
            };
            for ((expected, _), first) in alone.iter().zip([0, 4, 7]) {
                let found = &packed[first * VOCABULARY..][..expected.len()];
                assert!(far(found, expected) < 1e-5, "{model}{more}: sample at {first}");
            }
            let second = 4 * VOCABULARY;
            assert!(far(&mixed[second..][..3 * VOCABULARY], &alone[1].0) > 1e-3, "{model}{more}");
            let sum: f64 = alone.iter().map(|(_, loss)| loss).sum();
            assert!((loss - sum).abs() < 1e-4, "{model}{more}: {loss} instead of {sum}");
            // A step on the rows lowers the loss of the samples alone.
            predictions(&session, 0, whole);
            let after: f64 = SAMPLES
                .iter()
                .map(|sample| predictions(&session, 1, vec![ids(&[sample]), ids(&[sample])]).1)
                .sum();
            assert!(after < sum, "{model}{more}: {after} after {sum}");
        }
    }
}
