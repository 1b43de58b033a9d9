#![doc = include_str!("../README.md")]

mod jsonl;
mod lines;
mod rows;
mod tokenizer;
mod tokens;
mod windows;
mod words;

use fluxbay_plugin::prelude::*;
use jsonl::Jsonl;
use tokens::Tokens;

plugin! {
    summary: "Text as data: jsonl, tokens.",
    dataset "jsonl" => Jsonl {
        summary: "Texts of a JSON lines file as token ids, with a label or number each, or as windows for a language model.",
        details: "Each line is an object with a text and a label. xs is [length], padded at the end; ys is the class. With padding = \"longest\" a batch is only as long as its longest text. The field `length` is the number of tokens without padding; with `pair`, the field `types` says which text a token belongs to. With task = \"language-model\", xs and ys are windows of all texts, ys one token later, or a text each with padding = \"longest\". Texts stay in the file and are tokenised when a batch needs them. The tokenizer and the classes are kept with the run.",
        learns: true,
        texts: true,
        predicts: true,
        context: true,
        ragged: true,
        example: "[data]\ncomponent = \"jsonl\"\npath = \"reviews.jsonl\"\ntext = \"text\"\nlabel = \"label\"\nlength = 128\n",
    },
    dataset "tokens" => Tokens {
        summary: "Windows of a text file as token ids; the target is the window one token later.",
        details: "The first part of the text is used for training, the last part for validation. The tokenizer is kept with the run. For characters instead of tokens there is the data set `text`.",
        learns: true,
        texts: true,
        example: "[data]\ncomponent = \"tokens\"\npath = \"moby_dick.txt\"\ntokenizer = \"tokenizer.json\"\ncontext = 128\n",
    },
}
