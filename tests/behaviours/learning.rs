//! Phases other than `training` train successfully: adversarial, self-supervised, and with a custom
//! epoch.

use fluxbay::learner::{Ending, ports::DataBatch};
use fluxbay::session::{Device, Session, Tensor};

use crate::run::*;

const GAN: &str = r#"
[run]
seed = 2
epochs = 60
threads = 1
default-callbacks = false
[data]
component = "mixture"
modes = 8
radius = 2.0
deviation = 0.2
[loader]
batch-size = 256
[model.generator]
component = "mlp"
inputs = 8
hidden = [64, 64]
outputs = 2
[model.critic]
component = "mlp"
hidden = [64, 64]
outputs = 1
activation = "silu"
[optimizer.generator]
component = "adam"
learning-rate = 1e-3
beta1 = 0.5
[optimizer.critic]
component = "adam"
learning-rate = 2e-3
beta1 = 0.5
[[phase]]
component = "gan"
latent = 8
"#;

/// Samples of the generator: how many lie within three deviations of each mode of the mixture, and
/// how many there are.
fn coverage(session: &Session) -> ([usize; 8], usize) {
    let count = 2048;
    let xs = Tensor::zeros((count, 2), fluxbay::session::DType::F32, &Device::Cpu).unwrap();
    session.run_step(0, DataBatch { fields: vec![xs], samples: count, index: 0 }).unwrap();
    // The fakes of a step are from the generator before its update in that step.
    let fakes = session.tensor("step.yhats").unwrap().to_vec2::<f32>().unwrap();
    let mut modes = [0; 8];
    for point in &fakes {
        for (mode, hits) in modes.iter_mut().enumerate() {
            let angle = std::f32::consts::TAU * mode as f32 / 8.0;
            *hits += usize::from(
                (point[0] - 2.0 * angle.cos()).hypot(point[1] - 2.0 * angle.sin()) < 0.6,
            );
        }
    }
    (modes, count)
}

/// Requires all 8 modes with at least 2 % of the samples each, and 60 % of the samples near a mode.
/// (An even spread would be 12.5 % each.)
fn passes((modes, count): ([usize; 8], usize)) -> bool {
    modes.iter().all(|hits| *hits * 50 >= count) && modes.iter().sum::<usize>() * 10 >= count * 6
}

#[test]
fn a_gan_covers_all_modes_of_a_mixture() {
    assert!(
        !passes(coverage(&whole_session(GAN, Default::default()))),
        "an untrained generator passes"
    );
    let session = whole_session(GAN, Default::default());
    assert_eq!(session.fit().ending, Ending::Finished);
    let found = coverage(&session);
    println!("samples near each mode, of {}: {:?}", found.1, found.0);
    assert!(passes(found), "{found:?}");
}

const SELF_SUPERVISED: &str = r#"
[run]
seed = 1
epochs = 5
threads = 1
default-callbacks = false
[data]
component = "digits"
[loader]
batch-size = 32
validation = 0.2
[loss]
component = "cross-entropy"
[model.encoder]
component = "mlp"
hidden = [128]
outputs = 16
[model.decoder]
component = "mlp"
inputs = 16
hidden = [128]
outputs = 64
[model.probe]
component = "mlp"
inputs = 16
hidden = []
outputs = 10
[optimizer.encoder]
component = "adam"
learning-rate = 1e-3
[optimizer.decoder]
component = "adam"
learning-rate = 1e-3
[optimizer.probe]
component = "adam"
learning-rate = 1e-2
"#;
const PRETRAINING: &str = "[[phase]]\ncomponent = \"masked-reconstruction\"\nmask = 0.3\n";
const PROBE: &str = "[[phase]]\ncomponent = \"linear-probe\"\n[[phase]]\ncomponent = \"linear-probe-validation\"\n[[callback]]\ncomponent = \
    \"metrics\"\nmetrics = [{ component = \"accuracy\", phase = \"linear-probe-validation\" }]\n";

/// Validation accuracy of the probe after the last epoch.
fn probed_accuracy(phases: &str) -> f64 {
    let session = whole_session(&format!("{SELF_SUPERVISED}{phases}{PROBE}"), Default::default());
    assert_eq!(session.fit().ending, Ending::Finished);
    *values(&session, "cbstate.metrics-epoch.linear-probe-validation.accuracy").last().unwrap()
}

#[test]
fn a_linear_probe_on_self_supervised_features_beats_an_untrained_encoder_by_8_points() {
    let (trained, untrained) = (probed_accuracy(PRETRAINING), probed_accuracy(""));
    println!("probe on trained features {trained:.4}, on an untrained encoder's {untrained:.4}");
    assert!(trained >= untrained + 0.08, "{trained} {untrained}");
}

#[test]
fn a_probe_leaves_the_encoder_as_it_is() {
    let session = whole_session(&format!("{SELF_SUPERVISED}{PROBE}"), Default::default());
    let encoder = |session: &Session| {
        let tensors = session.model_tensors().unwrap();
        let of = tensors.iter().filter(|(name, _)| name.starts_with("encoder."));
        of.map(|(_, tensor)| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            .collect::<Vec<_>>()
    };
    let before = encoder(&session);
    session.fit_epochs(1);
    assert!(before == encoder(&session));
}

#[test]
fn parts_of_a_model_join_the_training_in_their_epochs() {
    let run = |parts: &str| {
        format!(
            "[run]\nseed = 1\nthreads = 1\ndefault-callbacks = false\n[data]\ncomponent = \"digits\"\n[loader]\n\
             batch-size = 256\n[model]\ncomponent = \"mlp\"\nhidden = [8, 8]\n[loss]\ncomponent = \"cross-entropy\"\n\
             [optimizer]\ncomponent = \"adamw\"\n[[callback]]\ncomponent = \"gradual-unfreezing\"\nparts = {parts}\n"
        )
    };
    let after = |epochs: u64| {
        let session =
            whole_session(&run("[\"*hidden.1*\", \"model.hidden.0*\"]"), Default::default());
        assert_eq!(session.fit_epochs(epochs).ending, Ending::Finished);
        let tensors = session.model_tensors().unwrap().into_iter();
        let values = |(name, tensor): (String, fluxbay::session::Tensor)| {
            (name, tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap())
        };
        tensors.map(values).collect::<std::collections::BTreeMap<_, _>>()
    };
    let (first, one, two, three) = (after(0), after(1), after(2), after(3));
    let same = |a: &std::collections::BTreeMap<String, Vec<f32>>,
                b: &std::collections::BTreeMap<String, Vec<f32>>,
                part: &str| {
        let name = a.keys().find(|name| name.contains(part) && name.ends_with("weight")).unwrap();
        a[name] == b[name]
    };
    assert!(same(&first, &one, "hidden.0") && same(&first, &one, "hidden.1"));
    assert!(!same(&first, &one, "output"));
    assert!(same(&first, &two, "hidden.0") && !same(&one, &two, "hidden.1"));
    assert!(!same(&two, &three, "hidden.0"));
    let session = whole_session(&run("[\"*encoder*\"]"), Default::default());
    let Ending::Failed(failure) = session.fit_epochs(1).ending else { panic!("it trains") };
    assert!(format!("{failure:?}").contains("no parameter matches"), "{failure:?}");
}

#[test]
fn the_low_loss_phase_ends_the_fit_after_an_epoch_of_its_own() {
    let session = session(&format!(
        "{SCALAR}[[phase]]\ncomponent = \"low-loss\"\nbelow = 5.0\n[[callback]]\ncomponent = \"metrics\"\n"
    ));
    let Ending::Stopped { reason, by } = session.fit_epochs(50).ending else {
        panic!("it goes on")
    };
    assert_eq!(by, "low-loss");
    assert!(reason.contains("is below 5"), "{reason}");
    let losses = values(&session, "cbstate.metrics-epoch.low-loss.loss");
    let (last, before) = losses.split_last().unwrap();
    assert!(*last < 5.0 && before.iter().all(|loss| *loss >= 5.0), "{losses:?}");
}
