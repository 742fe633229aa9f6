"""From a story to a video: seven tasks that wait as long as real services would, at a hundredth of the time.

              ┌─ hook ───────────────────┐
    story ────┤            ┌─ audio  ────┤
              └─ script ───┼─ images ────┼── compose
                           └─ video  ────┘

Shows that a task starts as soon as its inputs are there: the run takes as long as the longest path, not the sum.

    python examples/video_pipeline.py
    flowlib run examples/video_pipeline.py --topic "a lighthouse"
"""

import time

import flowlib as fl

SECONDS = {"story": 10, "script": 15, "hook": 12, "audio": 8, "images": 10, "video": 20, "compose": 5}
SCALE = 1 / 100
LONGEST_PATH = ("story", "script", "video", "compose")


def wait(name: str) -> None:
    """Stand in for a slow service."""
    time.sleep(SECONDS[name] * SCALE)


@fl.task
def story(topic: str) -> str:
    """Invent a story."""
    wait("story")
    return f"Once there was {topic} that nobody visited. One night a ship came."


@fl.task
def script(story: str) -> list[str]:
    """Cut the story into scenes."""
    wait("script")
    return [f"{sentence.strip()}." for sentence in story.split(".") if sentence.strip()]


@fl.task
def hook(story: str) -> str:
    """Write the line that makes people stay."""
    wait("hook")
    return f"Wait for the end: {story.split('.')[-2].strip().lower()}!"


@fl.task
def audio(scenes: list[str]) -> float:
    """Speak the scenes; return the length in seconds."""
    wait("audio")
    return sum(len(scene.split()) for scene in scenes) / 2.5


@fl.task
def images(scenes: list[str]) -> list[str]:
    """Paint one still for each scene."""
    wait("images")
    return [f"still {number}" for number, _ in enumerate(scenes, 1)]


@fl.task
def video(scenes: list[str]) -> list[str]:
    """Film one clip for each scene."""
    wait("video")
    return [f"clip {number}" for number, _ in enumerate(scenes, 1)]


@fl.task
def compose(hook: str, length_s: float, stills: list[str], clips: list[str]) -> str:
    """Put everything together."""
    wait("compose")
    return f"{hook} [{len(clips)} clips, {len(stills)} stills, {length_s:.0f} s of speech]"


def pipeline(*, topic: str = "a lighthouse") -> str:
    """Describe the production. Nothing runs here."""
    tale = story(topic)
    scenes = script(tale)
    return compose(hook(tale), audio(scenes), images(scenes), video(scenes))


def main() -> None:
    """Produce the video and compare the time with the two bounds."""
    target = pipeline()
    before = fl.plan(target)
    begin = time.perf_counter()
    made = fl.run(target, workers=4)
    wall_s = time.perf_counter() - begin
    total_s = sum(SECONDS.values()) * SCALE
    path_s = sum(SECONDS[name] for name in LONGEST_PATH) * SCALE
    print(made)
    print(f"one after the other  {total_s:.2f} s")
    print(f"longest path         {path_s:.2f} s  {' -> '.join(LONGEST_PATH)}")
    print(f"this run             {wall_s:.2f} s  {total_s / wall_s:.1f} times as fast as one after the other")
    if before.n_to_run == 0:
        print("Second run: nothing ran, the video was read from the cache.")


if __name__ == "__main__":
    main()
