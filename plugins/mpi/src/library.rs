//! The functions and constants of an MPI library, declared by hand.
//!
//! The functions have the same parameters everywhere; handles are numbers in MPICH and its relatives and
//! pointers in Open MPI. Both fit into a word and are passed in the same register, so a word is what the
//! declarations use. The constants are chosen by a symbol that only Open MPI has.
//!
//! MPI is initialised for calls by the thread that opens it alone (`MPI_THREAD_FUNNELED`).

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::time::{Duration, Instant};

use fluxbay_plugin::prelude::*;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::rounds::Part;

/// A communicator, element type, error handler or request.
type Word = usize;

/// `MPI_THREAD_FUNNELED`.
const FUNNELED: c_int = 1;
/// `MPI_MAX_ERROR_STRING` and `MPI_MAX_LIBRARY_VERSION_STRING` of all libraries are at most this.
const TEXT: usize = 8192;
/// Waits without giving the processor to others.
const SPINS: u32 = 200;
/// Time after which a wait sleeps between two tests.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long it sleeps.
const NAP: Duration = Duration::from_micros(100);

type InitThread =
    unsafe extern "C" fn(*mut c_int, *mut *mut *mut c_char, c_int, *mut c_int) -> c_int;
type Initialized = unsafe extern "C" fn(*mut c_int) -> c_int;
type CommNumber = unsafe extern "C" fn(Word, *mut c_int) -> c_int;
type SetErrhandler = unsafe extern "C" fn(Word, Word) -> c_int;
type Texts = unsafe extern "C" fn(*mut c_char, *mut c_int) -> c_int;
type ErrorString = unsafe extern "C" fn(c_int, *mut c_char, *mut c_int) -> c_int;
type Iallgatherv = unsafe extern "C" fn(
    *const c_void,
    c_int,
    Word,
    *mut c_void,
    *const c_int,
    *const c_int,
    Word,
    Word,
    *mut Word,
) -> c_int;
type Ialltoallv = unsafe extern "C" fn(
    *const c_void,
    *const c_int,
    *const c_int,
    Word,
    *mut c_void,
    *const c_int,
    *const c_int,
    Word,
    Word,
    *mut Word,
) -> c_int;
type Test = unsafe extern "C" fn(*mut Word, *mut c_int, Word) -> c_int;
type Finalize = unsafe extern "C" fn() -> c_int;

/// An open MPI library.
pub(crate) struct Mpi {
    file: String,
    version: String,
    rank: u32,
    size: u32,
    world: Word,
    byte: Word,
    status_ignore: Word,
    error_string: ErrorString,
    allgatherv: Iallgatherv,
    alltoallv: Ialltoallv,
    test: Test,
    finalize: Finalize,
    buffers: Cell<Buffers>,
    /// Never closed: MPI leaves threads and handlers behind.
    _library: std::mem::ManuallyDrop<Library>,
}

/// A function of the library.
///
/// # Safety
/// `T` must be the type of the function.
unsafe fn function<T: Copy>(library: &Library, name: &str) -> Result<T> {
    // SAFETY: promised by the caller.
    match unsafe { library.get::<T>(name.as_bytes()) } {
        Ok(symbol) => Ok(*symbol),
        Err(error) => bail!("it has no function {name}: {error}"),
    }
}

/// The address of a constant of Open MPI.
fn address(library: &Library, name: &str) -> Option<Word> {
    // SAFETY: only the address of the object is used.
    unsafe { library.get::<*mut c_void>(name.as_bytes()) }
        .ok()
        .map(|symbol| symbol.into_raw() as Word)
}

impl Mpi {
    /// Opens and initialises the library `file`, or the first of `names` that is there.
    pub fn open(file: &str, names: &[&str]) -> Result<Mpi> {
        let wanted: Vec<&str> = if file.is_empty() { names.to_vec() } else { vec![file] };
        let mut reasons = Vec::new();
        for name in wanted {
            // SAFETY: the constructors of an MPI library may run; the user asked for it.
            match unsafe { Library::open(Some(name), RTLD_NOW | RTLD_LOCAL) } {
                Ok(library) => return Mpi::of(library, name),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        bail!(
            "no MPI library can be opened: {}; install Open MPI or MPICH, or set `library` of \
             [communicator] to the file",
            reasons.join("; ")
        )
    }

    fn of(library: Library, file: &str) -> Result<Mpi> {
        let open_mpi = ["ompi_mpi_comm_world", "ompi_mpi_byte", "ompi_mpi_errors_return"]
            .map(|name| address(&library, name));
        let (world, byte, errors_return, status_ignore) = match open_mpi {
            [Some(world), Some(byte), Some(errors)] => (world, byte, errors, 0),
            // Handles of MPICH and of all that are compatible with it.
            _ => (0x4400_0000, 0x4C00_010D, 0x5400_0001, 1),
        };
        // SAFETY: the functions and their types are those of the MPI standard.
        let (init, initialized, rank_of, size_of, set_errors, version_of) = unsafe {
            (
                function::<InitThread>(&library, "MPI_Init_thread")?,
                function::<Initialized>(&library, "MPI_Initialized")?,
                function::<CommNumber>(&library, "MPI_Comm_rank")?,
                function::<CommNumber>(&library, "MPI_Comm_size")?,
                function::<SetErrhandler>(&library, "MPI_Comm_set_errhandler")?,
                function::<Texts>(&library, "MPI_Get_library_version")?,
            )
        };
        // SAFETY: as above.
        let mut mpi = unsafe {
            Mpi {
                file: file.to_owned(),
                version: String::new(),
                rank: 0,
                size: 0,
                world,
                byte,
                status_ignore,
                error_string: function(&library, "MPI_Error_string")?,
                allgatherv: function(&library, "MPI_Iallgatherv")?,
                alltoallv: function(&library, "MPI_Ialltoallv")?,
                test: function(&library, "MPI_Test")?,
                finalize: function(&library, "MPI_Finalize")?,
                buffers: Cell::default(),
                _library: std::mem::ManuallyDrop::new(library),
            }
        };
        let mut already = 0;
        // SAFETY: the place is lent for the call.
        mpi.check(unsafe { initialized(&mut already) })?;
        if already == 0 {
            let mut provided = 0;
            // SAFETY: MPI allows null for the arguments of the program.
            let code = unsafe { init(ptr::null_mut(), ptr::null_mut(), FUNNELED, &mut provided) };
            mpi.check(code)?;
        }
        let (mut rank, mut size) = (0, 0);
        // SAFETY: the handles are those of this library; the places are lent for the calls.
        unsafe {
            mpi.check(set_errors(world, errors_return))?;
            mpi.check(rank_of(world, &mut rank))?;
            mpi.check(size_of(world, &mut size))?;
        }
        (mpi.rank, mpi.size) = (rank.unsigned_abs(), size.unsigned_abs());
        // SAFETY: the buffer is longer than the longest text.
        mpi.version = text(|place, length| unsafe { version_of(place, length) });
        mpi.version = mpi.version.lines().next().unwrap_or_default().trim().to_owned();
        Ok(mpi)
    }

    /// Rank and number of ranks.
    pub fn place(&self) -> Result<(u32, u32)> {
        if self.size == 0 {
            bail!("the MPI library {} knows of no process", self.file);
        }
        Ok((self.rank, self.size))
    }

    /// Number of ranks.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The library as it was opened.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What the library says about itself.
    pub fn version(&self) -> &str {
        &self.version
    }

    fn check(&self, code: c_int) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the buffer is longer than the longest text.
        let said = text(|place, length| unsafe { (self.error_string)(code, place, length) });
        bail!("MPI: {said}")
    }

    /// Waits for a request until `end`.
    fn wait(&self, mut request: Word, end: Instant) -> Result<()> {
        let begin = Instant::now();
        for spin in 0_u64.. {
            let mut done = 0;
            // SAFETY: the request came from this library, and is tested until it is done.
            self.check(unsafe { (self.test)(&mut request, &mut done, self.status_ignore) })?;
            if done != 0 {
                return Ok(());
            }
            if spin < u64::from(SPINS) {
                std::hint::spin_loop();
                continue;
            }
            let now = Instant::now();
            if now >= end {
                bail!("the deadline has passed");
            }
            if now - begin < PATIENCE {
                std::thread::yield_now();
            } else {
                std::thread::sleep(NAP);
            }
        }
        Ok(())
    }

    /// Sends `sent` to all, and receives into the parts of `received`.
    pub fn allgatherv(
        &self,
        sent: &[u8],
        received: &mut [u8],
        parts: &[Part],
        end: Instant,
    ) -> Result<()> {
        let mut buffers = self.buffers.take();
        buffers.fill(sent, &[Part { start: 0, count: sent.len() as u64 }], parts)?;
        let mut request = 0;
        // SAFETY: counts and places describe parts of the buffers. All of them live until the request is
        // done: `finish` leaks them if it is not.
        let code = unsafe {
            (self.allgatherv)(
                buffers.sent.as_ptr().cast(),
                buffers.sent_counts[0],
                self.byte,
                buffers.received.as_mut_ptr().cast(),
                buffers.counts.as_ptr(),
                buffers.places.as_ptr(),
                self.byte,
                self.world,
                &mut request,
            )
        };
        self.check(code)?;
        self.finish(request, end, buffers, received, parts)
    }

    /// Sends the parts `to` of `sent`, and receives into the parts `from` of `received`.
    pub fn alltoallv(
        &self,
        sent: &[u8],
        to: &[Part],
        received: &mut [u8],
        from: &[Part],
        end: Instant,
    ) -> Result<()> {
        let mut buffers = self.buffers.take();
        buffers.fill(sent, to, from)?;
        let mut request = 0;
        // SAFETY: as above.
        let code = unsafe {
            (self.alltoallv)(
                buffers.sent.as_ptr().cast(),
                buffers.sent_counts.as_ptr(),
                buffers.sent_places.as_ptr(),
                self.byte,
                buffers.received.as_mut_ptr().cast(),
                buffers.counts.as_ptr(),
                buffers.places.as_ptr(),
                self.byte,
                self.world,
                &mut request,
            )
        };
        self.check(code)?;
        self.finish(request, end, buffers, received, from)
    }

    /// Waits for a request, and copies what it received. The buffers of one that is not done in time are
    /// leaked, since MPI may still use them.
    fn finish(
        &self,
        request: Word,
        end: Instant,
        buffers: Buffers,
        received: &mut [u8],
        parts: &[Part],
    ) -> Result<()> {
        if let Err(error) = self.wait(request, end) {
            std::mem::forget(buffers);
            return Err(error);
        }
        for (part, (&place, &count)) in parts.iter().zip(buffers.places.iter().zip(&buffers.counts))
        {
            let (place, count) = (place.unsigned_abs() as usize, count.unsigned_abs() as usize);
            let to = received.get_mut(part.start as usize..part.start as usize + count);
            let Some(to) = to else { bail!("a message is longer than its place") };
            to.copy_from_slice(&buffers.received[place..place + count]);
        }
        self.buffers.set(buffers);
        Ok(())
    }

    /// Ends MPI in this process; waits for the others.
    pub fn finalize(&self) -> Result<()> {
        // SAFETY: no request is open, and no other function is called afterwards.
        self.check(unsafe { (self.finalize)() })
    }
}

/// A text that a function of MPI writes.
fn text(write: impl FnOnce(*mut c_char, *mut c_int) -> c_int) -> String {
    let mut bytes = vec![0_u8; TEXT];
    let mut length = 0;
    if write(bytes.as_mut_ptr().cast(), &mut length) != 0 {
        return "an error without a text".to_owned();
    }
    bytes.truncate(length.unsigned_abs() as usize);
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
}

fn int(number: u64) -> Result<c_int> {
    c_int::try_from(number).map_err(|_| Error::new(format!("{number} bytes are too many at once")))
}

/// What MPI reads and writes while a request is open, used again by the next one.
#[derive(Default)]
struct Buffers {
    sent: Vec<u8>,
    sent_counts: Vec<c_int>,
    sent_places: Vec<c_int>,
    received: Vec<u8>,
    counts: Vec<c_int>,
    places: Vec<c_int>,
}

impl Buffers {
    /// Copies the parts `to` of `sent`, and makes room for the parts `from`.
    fn fill(&mut self, sent: &[u8], to: &[Part], from: &[Part]) -> Result<()> {
        self.sent.clear();
        for part in to {
            let bytes = sent.get(part.start as usize..(part.start + part.count) as usize);
            let Some(bytes) = bytes else { bail!("a message is longer than its buffer") };
            self.sent.extend_from_slice(bytes);
        }
        numbers(to, &mut self.sent_counts, &mut self.sent_places)?;
        let total = numbers(from, &mut self.counts, &mut self.places)?;
        self.received.resize(total, 0);
        Ok(())
    }
}

/// Counts of parts, and their places if they lie one after the other; returns the sum of the counts.
fn numbers(parts: &[Part], counts: &mut Vec<c_int>, places: &mut Vec<c_int>) -> Result<usize> {
    counts.clear();
    places.clear();
    let mut total = 0;
    for part in parts {
        counts.push(int(part.count)?);
        places.push(int(total)?);
        total += part.count;
    }
    int(total).map(|total| total.unsigned_abs() as usize)
}
