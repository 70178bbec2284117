//! What an engine is and what it may touch, read from its bytes without running or compiling it.

use crate::limits;
use wasmparser::{ComponentExternalKind, ComponentTypeRef, Encoding, Parser, Payload, Validator};

/// An import of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Its name, for example `eider:engine/inputs@1.0.0`.
    pub name: String,
    /// What it is: `interface`, `function`, …
    pub kind: &'static str,
}

/// What is known of an engine from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// BLAKE3.
    pub hash: blake3::Hash,
    /// Bytes.
    pub bytes: usize,
    /// All that it may ever touch.
    pub imports: Vec<Import>,
    /// What it offers.
    pub exports: Vec<String>,
    /// Pages (64 KiB) of its linear memories: initial, maximum.
    pub memories: Vec<(u64, Option<u64>)>,
    /// Entries of its tables: initial, maximum.
    pub tables: Vec<(u64, Option<u64>)>,
    /// Core modules inside.
    pub modules: usize,
    /// Components and modules inside each other.
    pub nesting: usize,
    /// What made it, by its own word: tools and versions.
    pub producers: Vec<String>,
}

impl Inspection {
    /// Why an engine is refused whatever else it does, if it is, where `grant` are the imports that are granted.
    pub fn refusal<S: AsRef<str>>(&self, grant: &[S]) -> Option<String> {
        if let Some(import) = self.imports.iter().find(|i| !grant.iter().any(|g| g.as_ref() == i.name)) {
            return Some(format!("it imports {} ({}), which is not granted", import.name, import.kind));
        }
        if self.nesting > limits::NESTING {
            return Some(format!("it nests {} levels deep, at most {} are allowed", self.nesting, limits::NESTING));
        }
        let mut memories = self.memories.iter().map(|(initial, _)| initial.saturating_mul(65536));
        if let Some(bytes) = memories.find(|bytes| *bytes > limits::IDLE_MEMORY) {
            let most = limits::IDLE_MEMORY;
            return Some(format!("it wants {bytes} bytes of memory at its start, at most {most} are allowed"));
        }
        if let Some((initial, _)) = self.tables.iter().find(|(initial, _)| *initial > limits::TABLE_ENTRIES as u64) {
            let most = limits::TABLE_ENTRIES;
            return Some(format!("it wants a table of {initial} entries at its start, at most {most} are allowed"));
        }
        None
    }
}

/// Why an engine cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Not a valid component.
    #[error("not a valid WebAssembly component: {0}")]
    Invalid(#[from] wasmparser::BinaryReaderError),
    /// A core module.
    #[error("this is a core WebAssembly module; an engine is a component (see guest/wit/engine.wit)")]
    NotAComponent,
}

/// The interfaces that a cell can give to its engine: those of `guest/wit/engine.wit`.
pub const CONTRACT: [&str; 3] =
    ["eider:engine/inputs@1.0.0", "eider:engine/results@1.0.0", "eider:engine/progress@1.0.0"];

/// Validates `bytes` and lists what they ask for and offer.
///
/// # Errors
/// [`InspectError`].
pub fn inspect(bytes: &[u8]) -> Result<Inspection, InspectError> {
    Validator::new_with_features(wasmparser::WasmFeatures::all()).validate_all(bytes)?;
    let mut found = Inspection {
        hash: blake3::hash(bytes),
        bytes: bytes.len(),
        imports: vec![],
        exports: vec![],
        memories: vec![],
        tables: vec![],
        modules: 0,
        nesting: 0,
        producers: vec![],
    };
    let mut depth = 0usize;
    for payload in Parser::new(0).parse_all(bytes) {
        found.nesting = found.nesting.max(depth);
        match payload? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(InspectError::NotAComponent);
            }
            Payload::ModuleSection { .. } => {
                found.modules += 1;
                depth += 1;
            }
            Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let memory = memory?;
                    found.memories.push((memory.initial, memory.maximum));
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    let ty = table?.ty;
                    found.tables.push((ty.initial, ty.maximum));
                }
            }
            Payload::CustomSection(section) => {
                if let wasmparser::KnownCustom::Producers(fields) = section.as_known() {
                    for field in fields {
                        for value in field?.values {
                            let value = value?;
                            let word = format!("{} {}", value.name, value.version);
                            if found.producers.len() < 32 && !found.producers.contains(&word) {
                                found.producers.push(word);
                            }
                        }
                    }
                }
            }
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    let import = import?;
                    // A type that the world's functions mention: a name and a shape, nothing that can be called.
                    if matches!(import.ty, ComponentTypeRef::Type(_)) {
                        continue;
                    }
                    let name = import.name.name.to_string();
                    found.imports.push(Import { name, kind: kind_of(&import.ty) });
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Func {
                        found.exports.push(export.name.name.to_string());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn kind_of(ty: &ComponentTypeRef) -> &'static str {
    match ty {
        ComponentTypeRef::Instance(_) => "interface",
        ComponentTypeRef::Func(_) => "function",
        ComponentTypeRef::Module(_) => "module",
        ComponentTypeRef::Value(_) => "value",
        ComponentTypeRef::Type(_) => "type",
        ComponentTypeRef::Component(_) => "component",
    }
}
