#![doc = include_str!("../README.md")]

mod bert;
mod decoder;
mod distilbert;
mod encoder;
mod gpt2;
mod llama;
mod modern_bert;
mod relatives;
mod roberta;
mod sounds;
mod style;
mod whisper;

use bert::Bert;
use fluxbay_plugin::prelude::*;
use gpt2::Gpt2;
use llama::Llama;
use modern_bert::ModernBert;
use whisper::Whisper;

plugin! {
    summary: "Published language models: bert, modern-bert, gpt2, llama, whisper.",
    model "bert" => Bert {
        summary: "BERT, RoBERTa or DistilBERT under their published names.",
        details: "Inputs are token ids [time]. With `from`, sizes and weights come from a folder with config.json and safetensors files; `model_type` there tells which of the three it is.",
        example: "[model]\ncomponent = \"bert\"\nfrom = \"bert-base-uncased\"\nhead = \"classification\"\n",
    },
    model "modern-bert" => ModernBert {
        summary: "ModernBERT under its published names.",
        details: "Inputs are token ids [time]; heads are those of bert. With `from`, sizes and weights come from a folder with config.json and safetensors files.",
        example: "[model]\ncomponent = \"modern-bert\"\nfrom = \"ModernBERT-base\"\nhead = \"masked-language\"\n",
    },
    model "gpt2" => Gpt2 {
        summary: "GPT-2 under its published names.",
        details: "Inputs are token ids [time]; the predictions are logits [time, vocabulary]. With `from`, sizes and weights come from a folder with config.json and safetensors files.",
        example: "[model]\ncomponent = \"gpt2\"\nfrom = \"gpt2\"\n",
    },
    model "llama" => Llama {
        summary: "LLaMA, Mistral, Qwen 2, Qwen 3 or Gemma under their published names.",
        details: "Inputs are token ids [time]; the predictions are logits [time, vocabulary]. With `from`, sizes and weights come from a folder with config.json and safetensors files; `model_type` there tells the family.",
        example: "[model]\ncomponent = \"llama\"\nfrom = \"Qwen3-0.6B\"\n",
    },
    model "whisper" => Whisper {
        summary: "Whisper, or its encoder as a classifier of sounds, under its published names.",
        details: "Inputs are spectrograms [bands, frames], such as those of the data set audio with features = \"whisper\"; the predictions are classes, or values: the decoder of a complete model is left out. With head = \"transcription\", targets are token ids [time], and the predictions are logits [time, vocabulary]: train it in the phase causal-language with `begin`. With `from`, sizes and weights come from a folder with config.json and safetensors files.",
        example: "[model]\ncomponent = \"whisper\"\nfrom = \"whisper-tiny\"\n",
    },
}
