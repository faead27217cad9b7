<?php
// Static files on the volume that every release's web server looks into when it has not a file itself: a page that was fetched before
// an update finds its pictures after it, and the other way round. The entrypoint lays them there; this keeps them.
declare(strict_types=1);

namespace Shop;

final class Published
{
    private const DIRECTORY = __DIR__ . '/../public/media/assets';
    private const REFRESH_SECONDS = 86400;
    private const KEEP_SECONDS = 30 * 86400;

    /** Once a day: marks this release's files as in use, and removes those that no release used for thirty days. */
    public static function refresh(int $now): int
    {
        $own = array_values(require __DIR__ . '/../assets/manifest.php');
        $newest = self::DIRECTORY . '/' . $own[0];
        if (!is_file($newest) || (int) filemtime($newest) > $now - self::REFRESH_SECONDS) {
            return 0;
        }
        foreach ($own as $name) {
            if (is_file(self::DIRECTORY . "/$name")) {
                touch(self::DIRECTORY . "/$name", $now);
            }
        }
        // What a copy left behind that was cut off.
        foreach (glob(self::DIRECTORY . '/.part.*', GLOB_ONLYDIR) ?: [] as $part) {
            if ((int) filemtime($part) < $now - self::REFRESH_SECONDS) {
                array_map('unlink', glob("$part/*") ?: []);
                rmdir($part);
            }
        }
        $removed = 0;
        foreach (new \FilesystemIterator(self::DIRECTORY, \FilesystemIterator::SKIP_DOTS) as $file) {
            if ($file->isFile() && $file->getMTime() < $now - self::KEEP_SECONDS) {
                unlink($file->getPathname());
                $removed++;
            }
        }
        return $removed;
    }
}
