//! The first lines of a program: what it does, how it must end, how it is made. The build reads them too, so that a
//! program that nobody tests does not build.

/// How a program must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ends {
    /// It cannot be compiled, or no cell gives it what it asks for; the reason has this in it.
    Refused(String),
    /// With a result.
    Completed,
    /// With a failure of this kind, whose message has this in it.
    Failed(String, String),
    /// Without an outcome, for want of this, with a reason that has this in it.
    Lacks(String, String),
    /// Not by itself.
    Killed,
}

/// What is put around the text of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prelude {
    /// Nothing: the file has all of it.
    None,
    /// `prelude/module.wat` and the exports of our world that the file lacks: a core module.
    Module,
    /// `prelude/component.wat` and the exports of our world that the file lacks: a component.
    Component,
}

/// What is done to the component before it is an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Make {
    /// Only its first bytes are left.
    Truncate(usize),
    /// All bits of the byte at this place are flipped.
    Flip(usize),
    /// Its preamble has this version.
    Version(u8),
    /// As many components inside each other are appended.
    Nest(usize),
    /// These many bytes of rubbish are appended.
    Append(usize),
    /// The core module is the engine, without a component around it.
    Core,
    /// The engine is the text itself.
    Text,
    /// The engine is the image that it was compiled to.
    Compiled,
}

/// All that the first lines say.
#[derive(Clone, Debug)]
pub struct Header {
    /// The end.
    pub ends: Ends,
    /// What is around it.
    pub prelude: Prelude,
    /// What the prelude must leave out.
    pub without: Vec<String>,
    /// Compiled to count fuel.
    pub metered: bool,
    /// Fuel of its job.
    pub fuel: Option<u64>,
    /// How many of the inputs its job has.
    pub inputs: usize,
    /// Memory of its job, MiB.
    pub memory_mib: u64,
    /// Changes to its bytes.
    pub make: Vec<Make>,
    /// A function in `checks.rs` that looks closer.
    pub check: Option<String>,
}

impl Header {
    /// Reads the comment lines that a program begins with.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().map_while(|l| l.strip_prefix(";; "));
        let mut says = String::new();
        let ends = loop {
            let line = lines.next().ok_or("has no line \";; ends: …\"")?;
            match line.strip_prefix("ends: ") {
                Some(ends) => break parse_ends(ends)?,
                None => says.push_str(line),
            }
        };
        if !says.ends_with('.') {
            return Err("does not begin with a sentence that says what it does".into());
        }
        let mut header = Self {
            ends,
            prelude: Prelude::None,
            without: vec![],
            metered: false,
            fuel: None,
            inputs: 3,
            memory_mib: 64,
            make: vec![],
            check: None,
        };
        for line in lines {
            match line.split_once(": ").unwrap_or((line, "")) {
                ("prelude", "") => header.prelude = Prelude::Module,
                ("prelude", "component") => header.prelude = Prelude::Component,
                ("without", name) => header.without.push(name.into()),
                ("variant", "metered") => header.metered = true,
                ("fuel", n) => header.fuel = Some(number(n)?),
                ("inputs", n) => header.inputs = number(n)?,
                ("memory", mib) => header.memory_mib = number(mib.strip_suffix(" MiB").unwrap_or_default())?,
                ("make", rule) => header.make.push(parse_make(rule)?),
                ("check", name) => header.check = Some(name.into()),
                _ => return Err(format!("has a line {line:?} that means nothing")),
            }
        }
        Ok(header)
    }
}

fn parse_ends(text: &str) -> Result<Ends, String> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match (word, rest) {
        ("completed", "") => Ok(Ends::Completed),
        ("killed", "") => Ok(Ends::Killed),
        ("refused", says) if !says.is_empty() => Ok(Ends::Refused(says.into())),
        ("failed", rest) => match rest.split_once(' ') {
            Some((kind, says)) if !says.is_empty() => Ok(Ends::Failed(kind.into(), says.into())),
            _ => Err("ends: failed wants a kind and a part of the message".into()),
        },
        ("lacks", rest) => match rest.split_once(' ') {
            Some((lack, says)) if !says.is_empty() => Ok(Ends::Lacks(lack.into(), says.into())),
            _ => Err("ends: lacks wants what, and a part of the reason".into()),
        },
        _ => Err(format!("ends: {text:?} is no end")),
    }
}

fn parse_make(text: &str) -> Result<Make, String> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    Ok(match (word, rest) {
        ("core", "") => Make::Core,
        ("text", "") => Make::Text,
        ("compiled", "") => Make::Compiled,
        ("truncate", n) => Make::Truncate(number(n)?),
        ("flip", n) => Make::Flip(number(n)?),
        ("version", n) => Make::Version(number(n)?),
        ("nest", n) => Make::Nest(number(n)?),
        ("append", n) => Make::Append(number(n)?),
        _ => return Err(format!("make: {text:?} is no rule")),
    })
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("has {text:?} where a number should be"))
}
