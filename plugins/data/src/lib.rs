#![doc = include_str!("../README.md")]

mod arrays;
mod balanced;
mod csv;
mod digits;
mod idx;
mod idx_file;
mod json_table;
mod mixture;
mod packed;
mod source;
mod text;
mod values;

use self::csv::Csv;
use arrays::ArrayData;
use balanced::Balanced;
use digits::Digits;
use fluxbay_plugin::prelude::*;
use idx::Idx;
use json_table::JsonTable;
use mixture::Mixture;
use packed::Packed;
use text::CharacterText;
use values::{Impute, Noise, OneHot, Scale};

plugin! {
    summary: "The standard data sets: digits, idx, csv, jsonl-table, arrays, text, packed, mixture.",
    dataset "digits" => Digits {
        summary: "1,797 handwritten digits of 8 x 8 pixels, embedded in the plugin.",
        details: "xs is [8, 8] with values from 0 to 1, ys is the digit. There is one split, which the loader divides into training and validation.",
        example: "[data]\ncomponent = \"digits\"\n\n[loader]\nvalidation = 0.2\n",
    },
    dataset "idx" => Idx {
        summary: "Images and labels in IDX files, such as MNIST and Fashion-MNIST, gzipped or not.",
        details: "xs is [height, width], ys is the label. Unsigned bytes are divided by 255, so that values are from 0 to 1; elements of other types are taken as they are.",
        learns: true,
        predicts: true,
        example: "[data]\ncomponent = \"idx\"\nimages = \"train-images-idx3-ubyte.gz\"\nlabels = \"train-labels-idx1-ubyte.gz\"\nvalidation-images = \"t10k-images-idx3-ubyte.gz\"\nvalidation-labels = \"t10k-labels-idx1-ubyte.gz\"\n",
    },
    dataset "csv" => Csv {
        summary: "Rows of a CSV file: numbers are standardised, categories are one-hot encoded, one column is the target.",
        details: "Means, deviations and replacements for missing values are computed from the training rows only.",
        learns: true,
        context: true,
        ragged: true,
        predicts: true,
        example: "[data]\ncomponent = \"csv\"\npath = \"penguins.csv\"\ntarget = \"species\"\nmissing = \"fill\"\n",
    },
    dataset "jsonl-table" => JsonTable {
        summary: "Rows of a JSON lines file: numbers are standardised, categories are one-hot encoded, lists are inputs or fields, one column is the target.",
        details: "The settings are those of csv and parquet, and the same table gives the same batches. Keys of objects in a row are columns called outer.inner. Lists of one length are inputs; lists of different lengths are a field. Means, deviations and replacements for missing values are computed from the training rows only. For texts that a tokenizer reads there is the data set jsonl.",
        learns: true,
        context: true,
        ragged: true,
        predicts: true,
        example: "[data]\ncomponent = \"jsonl-table\"\npath = \"penguins.jsonl\"\ntarget = \"species\"\nmissing = \"fill\"\n",
    },
    dataset "arrays" => ArrayData {
        summary: "Arrays of NumPy files (.npy, .npz) and tensors of safetensors files.",
        details: "Samples lie along the first dimension. xs has the shape of a sample; ys is the class if the targets are whole numbers, else the values. Samples are read from the file when a batch needs them; only compressed arrays are held in memory.",
        learns: true,
        predicts: true,
        example: "[data]\ncomponent = \"arrays\"\npath = \"measurements.npz\"\ninputs = \"x\"\ntargets = \"y\"\n",
    },
    dataset "text" => CharacterText {
        summary: "Windows of a text file as character ids; the target is the window one character later.",
        details: "The first part of the text is used for training, the last part for validation. The vocabulary is the set of characters in the file.",
        learns: true,
        texts: true,
        example: "[data]\ncomponent = \"text\"\npath = \"moby_dick.txt\"\ncontext = 128\n",
    },
    dataset "packed" => Packed {
        summary: "Ready samples of one file, as fluxbay data pack writes them.",
        details: "Fields, splits, keys and names of classes are those of the data set that was packed, and so are the bits of batches. Samples are read from their places in the file, and checked, when a batch needs them.",
        context: true,
        ragged: true,
        predicts: true,
        example: "[data]\ncomponent = \"packed\"\npath = \"photos.pack\"\n",
    },
    dataset "mixture" => Mixture {
        summary: "Points of a mixture of Gaussians on a ring.",
        details: "xs is [2], ys is the index of the Gaussian.",
        example: "[data]\ncomponent = \"mixture\"\nmodes = 8\n",
    },
    transform "noise" => Noise {
        summary: "Adds normal noise to numbers.",
        augments: true,
        example: "[[transform]]\ncomponent = \"noise\"\ndeviation = 0.05\n",
    },
    transform "scale" => Scale {
        summary: "Subtracts, divides and cuts off numbers; bytes become f32.",
        example: "[[transform]]\ncomponent = \"scale\"\noffset = [0.5]\ndivisor = [0.25]\n",
    },
    transform "impute" => Impute {
        summary: "Replaces missing numbers (NaN), and says where they were if wanted.",
        example: "[[transform]]\ncomponent = \"impute\"\nvalues = [0]\nindicators = true\n",
    },
    transform "one-hot" => OneHot {
        summary: "Makes rows with a single 1 of classes, by hash if there are many.",
        details: "Takes fields of class numbers (u32), such as a column of categories in arrays; `csv` and `parquet` encode columns of words themselves.",
        example: "[[transform]]\ncomponent = \"one-hot\"\nfield = \"ys\"\n",
    },
    sampler "balanced" => Balanced {
        summary: "Every class equally often, however many samples it has.",
        details: "An epoch reads as many samples as there are for training: those of rare classes several times, those of frequent ones in part, others in each epoch.",
        example: "[sampler]\ncomponent = \"balanced\"\n",
    },
}
