use super::super::look;
use super::*;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread;
use tempfile::TempDir;

/// A folder with a Ganeti: its program says who it is, and the place is a link to it, as on Debian, or
/// the program itself.
struct Folder {
    dir: TempDir,
    place: Place,
    text: Vec<u8>,
}

fn program(path: &Path, says: &str) {
    fs::write(path, format!("#!/bin/sh\necho {says} \"$@\"\n")).unwrap();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

impl Folder {
    fn new(is_link: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        program(&at("ours"), "ours");
        program(
            &at(if is_link { "real" } else { "import-export" }),
            "ganeti",
        );
        if is_link {
            symlink("real", at("import-export")).unwrap();
        }
        let place = Place::new(&at("import-export")).unwrap();
        let text = place.text(&at("ours")).unwrap().into();
        Self { dir, place, text }
    }

    /// Who does a transfer.
    fn who(&self) -> String {
        let mut run = Command::new(self.place.path());
        run.args(["a b", "c"]);
        loop {
            match run.output() {
                // A program that another test starts at this moment has the file open for writing,
                // until it is executed.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => thread::yield_now(),
                output => return String::from_utf8(output.unwrap().stdout).unwrap(),
            }
        }
    }

    fn works(&self) {
        let who = self.who();
        assert!(
            who == "ours import-export a b c\n" || who == "ganeti a b c\n",
            "{who}"
        );
    }

    /// Names, and what links and files say.
    fn picture(&self) -> Vec<(String, String)> {
        let of = |entry: fs::DirEntry| {
            let path = entry.path();
            let says = fs::read_link(&path).map(|to| to.display().to_string());
            let says = says.unwrap_or_else(|_| fs::read_to_string(&path).unwrap());
            (entry.file_name().into_string().unwrap(), says)
        };
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut all: Vec<_> = entries.map(|entry| of(entry.unwrap())).collect();
        all.sort();
        all
    }

    fn on(&self) {
        perform(&Act::Put(self.place.clone(), self.text.clone())).unwrap();
        assert_eq!(self.who(), "ours import-export a b c\n");
        assert_eq!(self.picture().len(), if self.is_link() { 4 } else { 3 });
    }

    fn off(&self) {
        perform(&Act::PutBack(self.place.clone(), None)).unwrap();
        assert_eq!(self.who(), "ganeti a b c\n");
    }

    fn is_link(&self) -> bool {
        self.dir.path().join("real").exists()
    }
}

#[test]
fn it_comes_and_goes_and_leaves_no_trace() {
    for is_link in [true, false] {
        let folder = Folder::new(is_link);
        let before = folder.picture();
        folder.on();
        folder.on(); // again
        folder.off();
        assert_eq!(folder.picture(), before);
        folder.off();
        assert_eq!(folder.picture(), before);
    }
}

#[test]
fn killed_after_any_change_it_works_and_the_next_run_ends_it() {
    for is_link in [true, false] {
        for turns_on in [true, false] {
            for made in 0.. {
                let folder = Folder::new(is_link);
                let before = folder.picture();
                if !turns_on {
                    folder.on();
                }
                let changes = match turns_on {
                    true => put(&folder.place, &folder.text).unwrap(),
                    false => put_back(&folder.place).unwrap(),
                };
                changes[..made]
                    .iter()
                    .for_each(|change| change.make().unwrap());
                folder.works();
                match made % 2 {
                    0 => folder.on(),
                    _ => folder.off(),
                }
                folder.off();
                assert_eq!(folder.picture(), before, "{made} of {changes:?}");
                if made == changes.len() {
                    break;
                }
            }
        }
    }
}

#[test]
fn half_written_it_is_not_in_the_place() {
    let folder = Folder::new(true);
    fs::write(folder.place.new_text(), "#!/bin/sh\nexit 1\n").unwrap();
    folder.works();
    folder.on();
    folder.off();
}

#[test]
fn a_newer_ganeti_in_its_place_stays() {
    let folder = Folder::new(false);
    folder.on();
    fs::remove_file(folder.place.path()).unwrap();
    program(folder.place.path(), "newer");
    folder.on();
    perform(&Act::PutBack(folder.place.clone(), None)).unwrap();
    assert_eq!(folder.who(), "newer a b c\n");
    folder.on();
    program(folder.place.path(), "newest");
    perform(&Act::PutBack(folder.place.clone(), None)).unwrap();
    assert_eq!(folder.who(), "newest a b c\n");
    assert_eq!(folder.picture().len(), 2);
}

#[test]
fn without_the_program_ganeti_s_own_does_transfers() {
    let folder = Folder::new(true);
    folder.on();
    fs::remove_file(folder.dir.path().join("ours")).unwrap();
    assert_eq!(folder.who(), "ganeti a b c\n");
}

#[test]
fn a_program_that_others_can_replace_is_none() {
    if !rustix::process::geteuid().is_root() {
        return; // it must be root's
    }
    let folder = Folder::new(true);
    let (dir, ours) = (folder.dir.path(), folder.dir.path().join("ours"));
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    for (of_folder, of_file, good) in [
        (0o755, 0o755, true),
        (0o1777, 0o755, true),
        (0o777, 0o755, false),
        (0o755, 0o775, false),
        (0o755, 0o644, false),
    ] {
        mode(dir, of_folder);
        mode(&ours, of_file);
        assert_eq!(look::is_a_program(&ours), good, "{of_folder:o} {of_file:o}");
    }
    assert!(!look::is_a_program(&dir.join("none")) && !look::is_a_program(dir));
}

#[test]
fn what_is_looked_at_is_what_is_there() {
    let folder = Folder::new(true);
    let scene = |recorded: Option<&Path>| look::scene(Some(folder.place.path()), recorded).unwrap();
    let before = scene(None);
    assert_eq!((&before.there, before.kept), (&There::Other, Kept::Nothing));
    folder.on();
    let whole = scene(Some(folder.place.path()));
    assert_eq!(whole.there, There::Ours(folder.text.clone()));
    assert_eq!((whole.kept, whole.recorded), (Kept::Other, true));
    assert_eq!(whole.fault(&|path| path.ends_with("ours")), None);
    folder.off();
    symlink("real", folder.place.kept()).unwrap();
    assert_eq!(scene(None).kept, Kept::Same);
    let other = look::scene(Some(folder.place.path()), Some(Path::new("/other")));
    assert!(
        other
            .unwrap_err()
            .contains("`install --moves` has changed /other")
    );
}
