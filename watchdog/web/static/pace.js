// Work that comes faster than people can look: done at once, and then once per interval.

/** A function that runs its work at once, and once more after the interval when it was called meanwhile. */
export function atMostEvery(milliseconds, work) {
  let waiting = false;
  let again = false;
  return async function run() {
    if (waiting) return void (again = true);
    waiting = true;
    await Promise.all([work(), new Promise((resolve) => setTimeout(resolve, milliseconds))]);
    waiting = false;
    if (again) {
      again = false;
      run();
    }
  };
}
