//! Items of the Rust tables as declarations of C.

use std::collections::HashMap;

use syn::{Expr, Fields, Item, ReturnType, Type, TypeBareFn};

use super::comment::{Names, comment, doc};

/// Prefixes of the constants, by the file or the module within it that holds them.
const PREFIXES: &[(&str, &str)] = &[
    ("status", ""),
    ("dtype", "DTYPE_"),
    ("phase_kind", "PHASE_"),
    ("value", "VALUE_"),
    ("init", "INIT_"),
    ("direction", "DIRECTION_"),
    ("detect", "DETECT_"),
    ("activation", "ACTIVATION_"),
    ("reduction", "REDUCTION_"),
    ("mode", "MODE_"),
    ("record", "RECORD_"),
    ("scope", "SCOPE_"),
    ("resolution", "RESOLUTION_"),
];

/// Prefixes of the tables that are written as macros; their modules are linked to by name too.
const TABLES: &[(&str, &str)] =
    &[("kind", "KIND_"), ("event", "EVENT_"), ("op", "OP_"), ("operation", "OP_")];

/// One `#define`.
pub struct Row {
    pub name: String,
    pub value: String,
    pub doc: String,
}

/// The header while it is put together.
pub struct Header {
    tables: Vec<(&'static str, Vec<Row>)>,
    /// Constants with a name or a form of their own in C: name in Rust, name and value in C.
    special: HashMap<&'static str, (&'static str, String)>,
    names: Names,
    /// Types that are not structs of C, by their Rust name.
    types: HashMap<String, String>,
    structs: Vec<String>,
    text: String,
}

impl Header {
    pub fn new(
        tables: Vec<(&'static str, Vec<Row>)>,
        special: Vec<(&'static str, &'static str, String)>,
    ) -> Header {
        let mut names = Names::default();
        for (module, prefix) in PREFIXES.iter().chain(TABLES) {
            names.add(module, &format!("FLUXBAY_{prefix}*"));
        }
        for row in tables.iter().flat_map(|(_, rows)| rows) {
            if let Some(name) = row.name.strip_prefix("FLUXBAY_OP_") {
                names.add(name, &row.name);
            }
        }
        for (rust, c, _) in &special {
            names.add(rust, c);
        }
        let types = [
            ("u8", "uint8_t"),
            ("u32", "uint32_t"),
            ("u64", "uint64_t"),
            ("i32", "int32_t"),
            ("i64", "int64_t"),
            ("f64", "double"),
            ("usize", "size_t"),
            ("Instance", "fluxbay_instance"),
            ("Handle", "fluxbay_handle"),
        ];
        Header {
            tables,
            special: special.into_iter().map(|(rust, c, value)| (rust, (c, value))).collect(),
            names,
            types: types.map(|(rust, c)| (rust.to_owned(), c.to_owned())).into(),
            structs: Vec::new(),
            text: String::new(),
        }
    }

    /// Notes the types that a file declares, so that every section may name them.
    pub fn learn(&mut self, file: &syn::File) {
        for item in &file.items {
            match item {
                Item::Type(alias) => {
                    let target = self.base(&alias.ty);
                    self.types.insert(alias.ident.to_string(), target);
                }
                Item::Struct(item) if is_struct_of_c(item) => {
                    let (rust, c) = (item.ident.to_string(), struct_name(&item.ident.to_string()));
                    self.names.add(&rust, &c);
                    self.structs.push(c.clone());
                    self.types.insert(rust, c);
                }
                _ => {}
            }
        }
    }

    /// Writes the declarations of a file.
    pub fn section(&mut self, name: &str, file: &syn::File) {
        self.text.push_str(&format!("/* ---- {name} {} */\n", "-".repeat(88 - name.len())));
        self.text.push_str(&comment(&doc(&file.attrs), 0, &self.names));
        self.text.push('\n');
        for item in &file.items {
            match item {
                Item::Const(constant) => self.constant(name, constant),
                Item::Mod(module) => {
                    let Some((_, items)) = &module.content else { continue };
                    let inner = module.ident.to_string();
                    if !PREFIXES.iter().any(|(known, _)| *known == inner) {
                        continue;
                    }
                    self.text.push_str(&comment(&doc(&module.attrs), 0, &self.names));
                    for item in items {
                        if let Item::Const(constant) = item {
                            self.constant(&inner, constant);
                        }
                    }
                    self.text.push('\n');
                }
                Item::Macro(call) => {
                    let called = call.mac.path.segments.last().map(|last| last.ident.to_string());
                    let table = self.tables.iter().position(|(name, _)| {
                        call.ident.is_none() && called.as_deref() == Some(name)
                    });
                    if let Some(index) = table {
                        for row in std::mem::take(&mut self.tables[index].1) {
                            self.define(&row);
                        }
                        self.text.push('\n');
                    }
                }
                Item::Struct(item) => self.structure(item),
                _ => {}
            }
        }
    }

    /// The declarations, with all structs announced before them.
    pub fn finish(self) -> String {
        let announced: String = self.structs.iter().map(|name| format!("{name};\n")).collect();
        format!("{announced}\n{}", self.text)
    }

    fn constant(&mut self, module: &str, constant: &syn::ItemConst) {
        let rust = constant.ident.to_string();
        let prefix = PREFIXES.iter().find(|(known, _)| *known == module).map(|(_, prefix)| prefix);
        let (name, value) = match (self.special.get(rust.as_str()), prefix, &*constant.expr) {
            (Some((name, value)), ..) => ((*name).to_owned(), value.clone()),
            (None, Some(prefix), Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(number), .. })) => {
                (format!("FLUXBAY_{prefix}{rust}"), number.base10_digits().to_owned())
            }
            _ => return,
        };
        self.define(&Row { name, value, doc: doc(&constant.attrs) });
        if self.special.contains_key(rust.as_str()) {
            self.text.push('\n');
        }
    }

    fn define(&mut self, row: &Row) {
        self.text.push_str(&comment(&row.doc, 0, &self.names));
        self.text.push_str(&format!("#define {} {}\n", row.name, row.value));
    }

    fn structure(&mut self, item: &syn::ItemStruct) {
        let name = item.ident.to_string();
        if !is_struct_of_c(item) {
            // A number or a pointer with a type of its own.
            let target = match name.as_str() {
                "Handle" => "uint64_t ",
                "Instance" => "void *",
                _ => return,
            };
            self.text.push_str(&comment(&doc(&item.attrs), 0, &self.names));
            self.text.push_str(&format!("typedef {target}{};\n", self.types[&name]));
            if name == "Handle" {
                self.define(&Row {
                    name: "FLUXBAY_NO_TENSOR".to_owned(),
                    value: "UINT64_MAX".to_owned(),
                    doc: "The handle that names no tensor.".to_owned(),
                });
            }
            self.text.push('\n');
            return;
        }
        self.text.push_str(&comment(&doc(&item.attrs), 0, &self.names));
        self.text.push_str(&format!("{} {{\n", struct_name(&name)));
        let Fields::Named(fields) = &item.fields else { return };
        for field in &fields.named {
            let Some(ident) = &field.ident else { continue };
            self.text.push_str(&comment(&doc(&field.attrs), 4, &self.names));
            let declaration = self.declaration(&field.ty, &ident.to_string());
            self.text.push_str(&format!("    {declaration};\n"));
        }
        self.text.push_str("};\n\n");
    }

    /// `const T *name`, `T name[N]`, `R (*name)(...)`.
    fn declaration(&self, ty: &Type, name: &str) -> String {
        let name = if name == "this" { "self" } else { name };
        match ty {
            Type::Array(array) => {
                let Expr::Path(length) = &array.len else { panic!("{name}: length of an array") };
                let length = length.path.require_ident().map(ToString::to_string).unwrap();
                format!("{} {name}[{}]", self.base(&array.elem), self.special[length.as_str()].0)
            }
            Type::Ptr(_) => format!("{}{name}", self.base(ty)),
            Type::BareFn(function) => self.function(function, name),
            Type::Path(path) => match option_of(path) {
                Some(Type::BareFn(function)) => self.function(function, name),
                _ => format!("{} {name}", self.base(ty)),
            },
            _ => panic!("{name}: its type has no form in C"),
        }
    }

    fn function(&self, function: &TypeBareFn, name: &str) -> String {
        let result = match &function.output {
            ReturnType::Default => "void ".to_owned(),
            ReturnType::Type(_, ty) if matches!(**ty, Type::Ptr(_)) => self.base(ty),
            ReturnType::Type(_, ty) => format!("{} ", self.base(ty)),
        };
        let inputs: Vec<String> = function
            .inputs
            .iter()
            .map(|input| {
                let name = input.name.as_ref().map(|(name, _)| name.to_string());
                self.declaration(&input.ty, name.as_deref().unwrap_or("value"))
            })
            .collect();
        let inputs = if inputs.is_empty() { "void".to_owned() } else { inputs.join(", ") };
        let line = format!("{result}(*{name})({inputs})");
        // Wrapped behind a comma where it is too long, and indented below the field.
        let mut lines = vec![String::new()];
        for part in line.split_inclusive(", ") {
            let last = lines.len() - 1;
            if lines[last].len() + part.len() > 94 {
                let len = lines[last].trim_end().len();
                lines[last].truncate(len);
                lines.push(String::new());
            }
            if let Some(last) = lines.last_mut() {
                last.push_str(part);
            }
        }
        lines.join("\n        ")
    }

    /// A type without a name: `struct fluxbay_text`, `const uint64_t *`.
    fn base(&self, ty: &Type) -> String {
        match ty {
            Type::Ptr(pointer) => {
                let target = match &*pointer.elem {
                    Type::Tuple(_) => "void".to_owned(),
                    other => self.base(other),
                };
                let space = if target.ends_with('*') { "" } else { " " };
                match (pointer.const_token.is_some(), target.ends_with('*')) {
                    (true, false) => format!("const {target}{space}*"),
                    (true, true) => format!("{target}const *"),
                    (false, _) => format!("{target}{space}*"),
                }
            }
            Type::Path(path) => {
                let name = path.path.segments.last().map(|last| last.ident.to_string()).unwrap();
                self.types.get(&name).unwrap_or_else(|| panic!("no type of C for {name}")).clone()
            }
            _ => panic!("a type of a table has no form in C"),
        }
    }
}

/// Whether a struct is one in C too: not a wrapper of a number, not part of the Rust door.
fn is_struct_of_c(item: &syn::ItemStruct) -> bool {
    let plain = item.attrs.iter().any(|attribute| {
        attribute.path().is_ident("repr")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|form| form == "C")
    });
    let prefix_type = item.attrs.iter().any(|attribute| attribute.path().is_ident("sabi"));
    plain && !prefix_type
}

/// `EventRaw` is `struct fluxbay_event`.
fn struct_name(rust: &str) -> String {
    let mut name = "struct fluxbay".to_owned();
    for letter in rust.trim_end_matches("Raw").chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

fn option_of(path: &syn::TypePath) -> Option<&Type> {
    let last = path.path.segments.last()?;
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match (last.ident == "Option", arguments.args.first()?) {
        (true, syn::GenericArgument::Type(ty)) => Some(ty),
        _ => None,
    }
}
