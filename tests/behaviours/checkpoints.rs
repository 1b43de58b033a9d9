//! A run that is resumed gives the same bits as one that never stopped.

use std::cell::RefCell;
use std::rc::Rc;

use fluxbay::session::Session;
use fluxbay::session::checkpoint::{Files, to_files};

use crate::run::*;

fn run() -> Session {
    session(
        "[model]\ncomponent = \"mlp\"\nhidden = [8]\n[optimizer]\ncomponent = \"adamw\"\nlearning-rate = 0.01\n\
         [[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n\
         [[callback]]\ncomponent = \"recorder\"\n[[callback]]\ncomponent = \"metrics\"\n",
    )
}

fn bits(session: &Session) -> Vec<(String, Vec<u32>)> {
    let values = |tensor: &fluxbay::session::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let tensors = session.model_tensors().unwrap();
    tensors.iter().map(|(name, tensor)| (name.clone(), values(tensor).iter().map(|value| value.to_bits()).collect())).collect()
}

#[test]
fn resuming_after_any_epoch_of_any_phase_gives_the_same_bits() {
    let whole = run();
    let saved: Rc<RefCell<Vec<Files>>> = Rc::default();
    let keep = Rc::clone(&saved);
    whole.on_checkpoint(move |runtime| {
        keep.borrow_mut().push(to_files(&runtime.snapshot()?)?);
        Ok(())
    });
    let report = whole.fit_epochs(5);
    assert_eq!(saved.borrow().len(), 10, "5 epochs of 2 phases");
    for files in saved.borrow().iter() {
        let resumed = run();
        resumed.restore(files).unwrap();
        let rest = resumed.fit_rest();
        assert_eq!(rest, report);
        assert_eq!(bits(&resumed), bits(&whole));
        let steps = |session: &Session| session.number("cbstate.history.training.steps");
        assert_eq!(steps(&resumed), steps(&whole));
    }
}
